;; Is an authorizer that wants the log with another signature.
(component
  (import "witgate:auth/log@0.1.0" (instance (export "write" (func (param "everything" (list u64)) (result u64)))))
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
