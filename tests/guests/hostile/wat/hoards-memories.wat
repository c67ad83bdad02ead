;; Has as many memories as a component can have, all of them small, and is long enough at work that many callers
;; make many instances.
(component
  ;;include types
  (core module $part (memory 1))
  ;;repeat 19 (core instance (instantiate $part))
  (core module $main-module
    (memory (export "memory") 16)
    ;;include allocator
    ;;include plugin
    (func (export "witgate:auth/authorization@0.1.0#authorize") (type $authorize)
      (local $turns i32)
      (loop $again
        (br_if $again
          (i32.lt_u (local.tee $turns (i32.add (local.get $turns) (i32.const 1))) (i32.const 30000000))))
      (i32.const 128)))
  (core instance $main (instantiate $main-module))
  ;;include exports
)
