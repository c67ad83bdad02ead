;; Denies for a reason that lies beyond the end of its memory.
(module
  (memory (export "memory") 16)
  ;;include allocator
  ;;include plugin
  (func (export "witgate:auth/authorization@0.1.0#authorize") (type $authorize)
    (i32.store8 (i32.const 128) (i32.const 2)) ;; deny
    (i32.store (i32.const 132) (i32.const 0xfffffff0))
    (i32.store (i32.const 136) (i32.const 8))
    (i32.const 128)))
