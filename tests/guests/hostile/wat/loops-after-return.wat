;; Allows, and never comes back from cleaning up afterwards.
(module
  (memory (export "memory") 16)
  ;;include allocator
  ;;include plugin
  ;;include allows
  (func (export "cabi_post_witgate:auth/authorization@0.1.0#authorize") (param i32)
    (loop $again (br $again))))
