;; Is an authorizer that wants the log of `witgate:auth@0.0.9`.
(component
  (import "witgate:auth/log@0.0.9" (instance (export "write" (func (param "message" string)))))
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
