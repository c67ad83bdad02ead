;; Decides what there is not.
(module
  (memory (export "memory") 16)
  ;;include allocator
  ;;include plugin
  (func (export "witgate:auth/authorization@0.1.0#authorize") (type $authorize)
    (i32.store8 (i32.const 128) (i32.const 9))
    (i32.const 128)))
