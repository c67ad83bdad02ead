//! `witgate:auth@0.1.0`: the generated bindings, the imports, and the conversions between generated types and the
//! SDK's. Generated types never leave this module.

mod convert;
mod exports;
mod imports;

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "generated"
)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "list-policy",
        imports: {
            "witgate:auth/crypto.verify": async | trappable,
            "witgate:auth/crypto.verify-password": async | trappable,
            "witgate:auth/http.send": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub(super) use exports::{Exports, GuestExports};
pub(super) use imports::link;
