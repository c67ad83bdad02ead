;; A hook that allows.
(func (export "witgate:auth/authorization@0.1.0#authorize") (type $authorize)
  (i32.const 128))
