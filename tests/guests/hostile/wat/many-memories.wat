;; Begins with thirty memories of a megabyte each.
(module
  (memory (export "memory") 16)
  ;;repeat 29 (memory 16)
  ;;include allocator
  ;;include plugin
  ;;include allows
)
