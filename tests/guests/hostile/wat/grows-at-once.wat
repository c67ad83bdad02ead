;; Asks for four gigabytes in one go, and allows if it gets them or is told that it does not.
(module
  (memory (export "memory") 16)
  ;;include allocator
  ;;include plugin
  (func (export "witgate:auth/authorization@0.1.0#authorize") (type $authorize)
    (drop (memory.grow (i32.const 65000)))
    (i32.const 128)))
