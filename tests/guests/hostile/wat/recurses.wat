;; Calls itself without end.
(module
  (memory (export "memory") 16)
  ;;include allocator
  ;;include plugin
  (func $deeper (param i64) (result i64)
    (i64.add (call $deeper (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
  (func (export "witgate:auth/authorization@0.1.0#authorize") (type $authorize)
    (drop (call $deeper (i64.const 0)))
    (i32.const 128)))
