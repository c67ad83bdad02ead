;; Is a module of some three hundred kilobytes whose one function takes a compiler gigabytes and minutes: sixteen
;; thousand locals, each of which changes in a loop, and a jump back from each of sixty-five thousand cases with all
;; of them.
(module
  (memory (export "memory") 16)
  ;;include allocator
  ;;include plugin
  ;;include allows
  (func (export "bomb") (param i64)
    (local
      ;;repeat 16000 i64
    )
    (loop
      ;;repeat 16000 (local.set # (i64.add (local.get #) (i64.const #)))
      (br_table
        ;;repeat 65000 0
        1
        (i32.wrap_i64 (local.get 0))))))
