;; Never comes back from being instantiated.
(module
  (memory (export "memory") 16)
  ;;include allocator
  ;;include plugin
  ;;include allows
  (func $start (loop $again (br $again)))
  (start $start))
