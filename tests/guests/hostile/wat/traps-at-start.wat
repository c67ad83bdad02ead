;; Traps when it is instantiated.
(module
  (memory (export "memory") 16)
  ;;include allocator
  ;;include plugin
  ;;include allows
  (func $start unreachable)
  (start $start))
