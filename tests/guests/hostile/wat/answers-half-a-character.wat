;; Denies for a reason that ends in the middle of a character.
(module
  (memory (export "memory") 16)
  ;;include allocator
  ;;include plugin
  (data (i32.const 256) "ok\e2\82\ac")
  (func (export "witgate:auth/authorization@0.1.0#authorize") (type $authorize)
    (i32.store8 (i32.const 128) (i32.const 2)) ;; deny
    (i32.store (i32.const 132) (i32.const 256))
    (i32.store (i32.const 136) (i32.const 3))
    (i32.const 128)))
