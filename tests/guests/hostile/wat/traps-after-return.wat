;; Allows, and traps when it is to clean up afterwards.
(module
  (memory (export "memory") 16)
  ;;include allocator
  ;;include plugin
  ;;include allows
  (func (export "cabi_post_witgate:auth/authorization@0.1.0#authorize") (param i32)
    unreachable))
