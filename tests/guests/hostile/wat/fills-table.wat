;; Asks for a table of ten million elements, and allows if it gets it or is told that it does not.
(module
  (memory (export "memory") 16)
  (table $table 1 funcref)
  ;;include allocator
  ;;include plugin
  (func (export "witgate:auth/authorization@0.1.0#authorize") (type $authorize)
    (drop (table.grow $table (ref.null func) (i32.const 10000000)))
    (i32.const 128)))
