;; Has a hook `authorize` that asks nothing and answers a number.
(component
  ;;include types
  (core module $main-module
    (memory (export "memory") 16)
    ;;include allocator
    ;;include plugin
    (func (export "witgate:auth/authorization@0.1.0#authorize") (result i32) (i32.const 0)))
  (core instance $main (instantiate $main-module))
  (alias core export $main "memory" (core memory $memory))
  (alias core export $main "cabi_realloc" (core func $realloc))
  (func $describe (result $description)
    (canon lift (core func $main "witgate:auth/plugin@0.1.0#describe") (memory $memory)))
  (func $configure (param "policy" string) (param "config" string) (result (result $wants (error $config-error)))
    (canon lift (core func $main "witgate:auth/plugin@0.1.0#configure") (memory $memory) (realloc $realloc)))
  (func $authorize (result u32)
    (canon lift (core func $main "witgate:auth/authorization@0.1.0#authorize")))
  (instance $plugin (export "describe" (func $describe)) (export "configure" (func $configure)))
  (export "witgate:auth/plugin@0.1.0" (instance $plugin))
  (instance $authorization (export "authorize" (func $authorize)))
  (export "witgate:auth/authorization@0.1.0" (instance $authorization)))
