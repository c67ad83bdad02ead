;; Begins with a table of ten million elements.
(module
  (memory (export "memory") 16)
  (table 10000000 funcref)
  ;;include allocator
  ;;include plugin
  ;;include allows
)
