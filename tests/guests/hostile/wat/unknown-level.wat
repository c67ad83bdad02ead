;; Logs at a level that there is not, and allows.
(module
  (import "witgate:auth/log@0.1.0" "write" (func $write (param i32 i32 i32)))
  (memory (export "memory") 16)
  ;;include allocator
  ;;include plugin
  (func (export "witgate:auth/authorization@0.1.0#authorize") (type $authorize)
    (call $write (i32.const 77) (i32.const 0) (i32.const 7))
    (i32.const 128)))
