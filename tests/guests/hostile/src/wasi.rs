//! The parts of WASI that the guests try to use. The host has stubs of it, so that guests of languages whose
//! runtime expects a system can be linked.

#![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all, reason = "generated")]

wit_bindgen::generate!({
    path: "wit",
    world: "system",
    generate_all,
});

pub use self::wasi::*;
