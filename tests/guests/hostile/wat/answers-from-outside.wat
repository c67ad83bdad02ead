;; Has its answer beyond the end of its memory.
(module
  (memory (export "memory") 16)
  ;;include allocator
  ;;include plugin
  (func (export "witgate:auth/authorization@0.1.0#authorize") (type $authorize)
    (i32.const 0x7ffffff8)))
