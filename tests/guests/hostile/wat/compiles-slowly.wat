;; Is a module of thousands of functions, each of which is some work for a compiler.
(module
  (memory (export "memory") 16)
  ;;include allocator
  ;;include plugin
  ;;include allows
  ;;repeat 15000 (func (param i64 i64) (result i64) (i64.rem_u (i64.mul (local.get 0) (i64.const #)) (i64.or (i64.load (i32.wrap_i64 (local.get 1))) (i64.const 1))))
)
