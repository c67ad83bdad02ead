;; Denies with eight thousand scopes, which are all the same 900 KB: 64 KB of a list, seven gigabytes to whoever
;; reads it.
(module
  (memory (export "memory") 32)
  ;;include allocator
  ;;include plugin
  (data (i32.const 256) "fine")
  (func (export "witgate:auth/authorization@0.1.0#authorize") (type $authorize)
    (local $at i32)
    (memory.fill (i32.const 65536) (i32.const 120) (i32.const 900000))
    (local.set $at (i32.const 1048576))
    (loop $more
      (i32.store (local.get $at) (i32.const 65536))
      (i32.store offset=4 (local.get $at) (i32.const 900000))
      (br_if $more
        (i32.lt_u
          (local.tee $at (i32.add (local.get $at) (i32.const 8)))
          (i32.const 1112576))))
    (i32.store8 (i32.const 128) (i32.const 2)) ;; deny
    (i32.store (i32.const 132) (i32.const 256))
    (i32.store (i32.const 136) (i32.const 4))
    (i32.store (i32.const 140) (i32.const 1048576))
    (i32.store (i32.const 144) (i32.const 8000))
    (i32.const 128)))
