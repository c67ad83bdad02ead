;; Hands its host eight thousand headers of a request, which are all the same 900 KB.
(module
  (import "witgate:auth/http@0.1.0" "send" (func $send (param i32 i32)))
  (memory (export "memory") 32)
  ;;include allocator
  ;;include plugin
  (data (i32.const 256) "http://127.0.0.1:1/")
  (func (export "witgate:auth/authorization@0.1.0#authorize") (type $authorize)
    (local $at i32)
    (memory.fill (i32.const 65536) (i32.const 120) (i32.const 900000))
    (local.set $at (i32.const 1048576))
    (loop $more
      (i32.store (local.get $at) (i32.const 65536))
      (i32.store offset=4 (local.get $at) (i32.const 900000))
      (i32.store offset=8 (local.get $at) (i32.const 65536))
      (i32.store offset=12 (local.get $at) (i32.const 900000))
      (br_if $more
        (i32.lt_u
          (local.tee $at (i32.add (local.get $at) (i32.const 16)))
          (i32.const 1176576))))
    ;; The request, of which all is zero that is not set: GET, no body, no client, not shared.
    (i32.store offset=4 (i32.const 512) (i32.const 256))
    (i32.store offset=8 (i32.const 512) (i32.const 19))
    (i32.store offset=12 (i32.const 512) (i32.const 1048576))
    (i32.store offset=16 (i32.const 512) (i32.const 8000))
    ;; The request, and where the answer goes.
    (call $send (i32.const 512) (i32.const 1024))
    (i32.const 128)))
