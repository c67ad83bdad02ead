;; Calls its own export while that runs, through an import of its own making.
(component
  ;;include types
  (core module $table-module (table (export "table") 1 funcref))
  (core instance $table (instantiate $table-module))
  (core module $main-module
    (import "table" "table" (table $table 1 funcref))
    (memory (export "memory") 16)
    ;;include allocator
    ;;include plugin
    (type $lowered (func
      (param i32 i32 i32 i32 i32 i32 i32)
      (param i32 i32 i32 i32 i32 i32 i32 i32)
      (param i32)))
    (func (export "witgate:auth/authorization@0.1.0#authorize") (type $authorize)
      ;;repeat 15 (i32.const 0)
      (i32.const 256)
      (call_indirect $table (type $lowered) (i32.const 0))
      (i32.const 128)))
  (core instance $main (instantiate $main-module (with "table" (instance $table))))
  ;;include exports
  (core func $again (canon lower (func $authorize) (memory $memory) (realloc $realloc)))
  (core module $fill-module
    (import "table" "table" (table 1 funcref))
    (import "main" "again" (func $again
      (param i32 i32 i32 i32 i32 i32 i32)
      (param i32 i32 i32 i32 i32 i32 i32 i32)
      (param i32)))
    (elem (i32.const 0) func $again))
  (core instance (instantiate $fill-module
    (with "table" (instance $table))
    (with "main" (instance (export "again" (func $again)))))))
