;; Has nine memories, none of them large, and together seven times as much as it may have.
(component
  ;;include types
  (core module $part
    (memory 1)
    (func (export "grow") (drop (memory.grow (i32.const 223)))))
  ;;repeat 8 (core instance $part-# (instantiate $part))
  (core module $main-module
    ;;repeat 8 (import "part-#" "grow" (func $grow-#))
    (memory (export "memory") 16)
    ;;include allocator
    ;;include plugin
    (func (export "witgate:auth/authorization@0.1.0#authorize") (type $authorize)
      ;;repeat 8 (call $grow-#)
      (i32.const 128)))
  (core instance $main (instantiate $main-module
    ;;repeat 8 (with "part-#" (instance $part-#))
  ))
  ;;include exports
)
