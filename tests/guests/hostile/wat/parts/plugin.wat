;; What every authorizer has beside its hook: `describe` and `configure`, in the first 128 bytes of the memory.
;; What follows there is zero, which at 128 is the decision `allow`.
(type $authorize (func
  (param i32 i32 i32 i32 i32 i32 i32) ;; the call
  (param i32 i32 i32 i32 i32 i32 i32 i32) ;; the principal
  (result i32)))
(data (i32.const 0) "hostile0Hurts.{}")
(data (i32.const 16) "\00\00\00\00\07\00\00\00\07\00\00\00\01\00\00\00\08\00\00\00\06\00\00\00\0e\00\00\00\02\00\00\00")
(func $describe (export "witgate:auth/plugin@0.1.0#describe") (result i32)
  (i32.const 16))
(func $configure (export "witgate:auth/plugin@0.1.0#configure") (param i32 i32 i32 i32) (result i32)
  (i32.const 64))
