;; Is an authorizer that wants HTTP of the whole system, which no policy is offered.
(component
  (import "wasi:http/outgoing-handler@0.2.0" (instance (export "handle" (func (param "request" string)))))
  ;;include types
  (core module $main-module
    (memory (export "memory") 16)
    ;;include allocator
    ;;include plugin
    ;;include allows
  )
  (core instance $main (instantiate $main-module))
  ;;include exports
)
