;; The types of an authorizer, for components that are put together by hand.
(import "witgate:auth/types@0.1.0" (instance $types
  (type $t-kind (enum "tool" "resource" "prompt" "method"))
  (export "target-kind" (type $kind (eq $t-kind)))
  (type $t-transport (enum "http" "stdio"))
  (export "transport" (type $transport (eq $t-transport)))
  (type $t-call (record
    (field "method" string) (field "kind" $kind) (field "target" string) (field "transport" $transport)
    (field "listing" bool)))
  (export "call" (type $call (eq $t-call)))
  (type $t-principal (record
    (field "subject" string) (field "proven-by" string) (field "roles" (list string))
    (field "scopes" (list string))))
  (export "principal" (type $principal (eq $t-principal)))
  (type $t-denial (record
    (field "reason" string) (field "scopes" (list string)) (field "retry-after" (option u32))
    (field "detail" (option string))))
  (export "denial" (type $denial (eq $t-denial)))
  (type $t-unavailability (record (field "detail" string) (field "retry-after" (option u32))))
  (export "unavailability" (type $unavailability (eq $t-unavailability)))
  (type $t-decision (variant
    (case "allow") (case "abstain") (case "deny" $denial) (case "unavailable" $unavailability)))
  (export "decision" (type $decision (eq $t-decision)))
  (type $t-scheme (enum "bearer" "basic" "dpop" "header" "argument" "certificate"))
  (export "scheme" (type $scheme (eq $t-scheme)))))
(alias export $types "call" (type $call))
(alias export $types "principal" (type $principal))
(alias export $types "decision" (type $decision))
(alias export $types "scheme" (type $scheme))
(type $t-description (record
  (field "name" string) (field "version" string) (field "summary" string) (field "config-schema" string)))
(export $description "description" (type $t-description))
(type $t-data (flags "arguments" "meta" "peer" "claims"))
(export $data "data" (type $t-data))
(type $t-wants (record
  (field "schemes" (list $scheme)) (field "credential-header" (option string)) (field "headers" (list string))
  (field "data" $data)))
(export $wants "wants" (type $t-wants))
(type $t-config-error (record (field "pointer" string) (field "message" string)))
(export $config-error "config-error" (type $t-config-error))
