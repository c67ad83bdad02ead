;; Begins with nearly four gigabytes.
(module
  (memory (export "memory") 65000)
  ;;include allocator
  ;;include plugin
  ;;include allows
)
