;; Is an authorizer of `witgate:auth@0.0.9`.
(component
  (core module $module (func (export "hook") (result i32) (i32.const 0)))
  (core instance $main (instantiate $module))
  (func $hook (result u32) (canon lift (core func $main "hook")))
  (instance $plugin (export "describe" (func $hook)) (export "configure" (func $hook)))
  (export "witgate:auth/plugin@0.0.9" (instance $plugin))
  (instance $authorization (export "authorize" (func $hook)))
  (export "witgate:auth/authorization@0.0.9" (instance $authorization)))
