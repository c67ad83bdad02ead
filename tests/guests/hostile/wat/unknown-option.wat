;; Denies with a moment for another try that is neither there nor not.
(module
  (memory (export "memory") 16)
  ;;include allocator
  ;;include plugin
  (data (i32.const 256) "fine")
  (func (export "witgate:auth/authorization@0.1.0#authorize") (type $authorize)
    (i32.store8 (i32.const 128) (i32.const 2)) ;; deny
    (i32.store (i32.const 132) (i32.const 256))
    (i32.store (i32.const 136) (i32.const 4))
    (i32.store8 (i32.const 148) (i32.const 7))
    (i32.const 128)))
