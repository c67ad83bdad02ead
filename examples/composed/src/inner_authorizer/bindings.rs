//! Generated from `wit/`.

#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    dead_code,
    clippy::all,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "generated"
)]

wit_bindgen::generate!({
    path: ["../../wit", "wit"],
    world: "witgate:example-composed/freeze",
    generate_all,
});
