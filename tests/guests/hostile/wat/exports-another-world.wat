;; Is a program for a command line.
(component
  (core module $module (func (export "run") (result i32) (i32.const 0)))
  (core instance $main (instantiate $module))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exported)))
