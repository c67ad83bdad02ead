;; Memory for the arguments of one call: from the second page to the sixteenth, and then again from the second,
;; because nothing outlives a call.
(global $next (mut i32) (i32.const 65536))
(func $realloc (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
  (local $at i32)
  (if (i32.gt_u (i32.add (global.get $next) (local.get $size)) (i32.const 983040))
    (then (global.set $next (i32.const 65536))))
  (local.set $at
    (i32.and
      (i32.add (global.get $next) (i32.const 7))
      (i32.const -8)))
  (global.set $next (i32.add (local.get $at) (local.get $size)))
  (local.get $at))
