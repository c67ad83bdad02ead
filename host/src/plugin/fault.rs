//! How a hook fails, and which reason code that gets.

use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};

use crate::flow::reject::Failure;
use crate::services::clean;

/// How a hook failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The reason code.
    pub failure: Failure,
    /// For the operator.
    pub detail: String,
}

impl Fault {
    pub(crate) fn new(failure: Failure, detail: impl Into<String>) -> Self {
        Self { failure, detail: detail.into() }
    }

    /// The fault behind an engine's error. Where the host ended the hook, it `knows` why.
    pub(super) fn of(known: Option<Failure>, error: &wasmtime::Error) -> Self {
        let root = error.root_cause().to_string();
        let failure = known.unwrap_or_else(|| failure_of(error, &root));
        Self { failure, detail: clean(&root) }
    }
}

fn failure_of(error: &wasmtime::Error, root: &str) -> Failure {
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Failure::Fuel,
        Some(Trap::Interrupt) => Failure::Timeout,
        Some(Trap::StackOverflow) => Failure::Stack,
        Some(_) => Failure::Trap,
        None if error.is::<wasmtime::PoolConcurrencyLimitError>() => Failure::Unavailable,
        None if is_full_table(error) => Failure::Handles,
        // Two errors of the engine that have no type of their own.
        None if root.starts_with("too much data is being copied") => Failure::Output,
        None if root.contains("component handles") => Failure::Handles,
        // No code of the component's was running: it has answered, and what it answered cannot be read.
        None if !error.is::<WasmBacktrace>() => Failure::BadOutput,
        None => Failure::Trap,
    }
}

fn is_full_table(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(ResourceTableError::Full)))
}
