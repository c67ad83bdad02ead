//! The export glue: WIT bindings on one side, the traits of this crate on the other. Generated
//! types never leave this module.

mod convert;
mod imports;
mod panics;

use std::future::Future;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};

pub use imports::GuestHost;
pub mod worlds;

use crate::Plugin;

/// The allocator. Hooks make many small, short-lived values. A free list serves those faster than the
/// standard library's allocator for WebAssembly, and takes 30 KB less.
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// The type of the world `authenticator`, as the component encoder reads it.
pub const AUTHENTICATOR: &[u8; include_bytes!("guest/worlds/authenticator.component-type").len()] =
    include_bytes!("guest/worlds/authenticator.component-type");
/// The type of the world `list-authorizer`.
pub const LIST_AUTHORIZER: &[u8; include_bytes!("guest/worlds/list-authorizer.component-type").len()] =
    include_bytes!("guest/worlds/list-authorizer.component-type");

/// A plugin with a place for its one configured instance. Implemented by the export macros.
pub trait InstanceSlot: Plugin {
    /// The place.
    fn slot() -> &'static OnceLock<Self>;
}

/// The component around a plugin: it implements the exports of every world that fits.
#[derive(Debug)]
pub struct Component<P>(PhantomData<P>);

/// The configured instance. The host calls `configure` before any hook. If a host does not, the hook
/// traps, which denies the call.
#[allow(clippy::panic, reason = "a trap is the one way a component has to refuse a wrong host")]
fn instance<P: InstanceSlot>() -> &'static P {
    P::slot().get().unwrap_or_else(|| panic!("called before configure"))
}

/// Runs a hook to its end. Inside a component every host function is finished when it returns, so
/// the first poll is the last.
#[allow(clippy::panic, reason = "only a future that waits for something else than the host gets there")]
fn finish<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a hook may wait for nothing but its host"),
    }
}
