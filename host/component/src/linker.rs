//! The linker, which links exactly the interfaces that are granted.

use wasmtime::component::Linker;

use super::engine::Engine;
use super::grants::{GrantedInterfaces, Interface};
use super::state::State;
use super::v0_1;

/// A linker that offers exactly the granted interfaces, and the stubs of `wasi:*`: an empty environment, no files, no
/// sockets, a clock, random numbers.
///
/// # Errors
/// Only after a fault in the engine.
pub(super) fn linker(engine: &Engine, granted: GrantedInterfaces) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine.inner());
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    for interface in Interface::ALL.into_iter().filter(|interface| granted.covers(*interface)) {
        v0_1::link(&mut linker, interface)?;
    }
    Ok(linker)
}
