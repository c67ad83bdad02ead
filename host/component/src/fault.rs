//! Failures of hooks, and their reason codes.

use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};

use super::last_lines::LastLines;
use super::trace;
use crate::failure::Failure;
use witgate_base::cause::Cause;
use witgate_base::printable::clean;

/// The failure of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The reason code.
    pub failure: Failure,
    /// A sentence for the operator.
    pub detail: String,
}

impl Fault {
    /// A failure with its details for the operator.
    pub fn new(failure: Failure, detail: impl Into<String>) -> Self {
        Self { failure, detail: detail.into() }
    }

    /// The fault for an engine's error, with the place in the component and its last output. `known` is the reason if
    /// the host ended the hook.
    pub(super) fn of(known: Option<Failure>, error: &wasmtime::Error, said: &LastLines) -> Self {
        let root = error.root_cause().to_string();
        let failure = known.unwrap_or_else(|| failure_of(error, &root));
        let mut detail = match error.downcast_ref::<Trap>() {
            // The engine's own message would be about fuel.
            None if failure == Failure::Output => OUTPUT.to_owned(),
            // This is the form of a panic in any language.
            Some(Trap::UnreachableCodeReached) => "it panicked or aborted (wasm `unreachable`)".to_owned(),
            _ => clean(&root),
        };
        if let Some(trace) = error.downcast_ref::<WasmBacktrace>() {
            match trace::way(trace) {
                Some(way) => detail += &format!("; in {way}"),
                None => detail += NAMELESS,
            }
        }
        detail += &last_output(said);
        Self { failure, detail }
    }
}

const OUTPUT: &str = "its output to the host exceeds `output_kib`; make it smaller, or raise that limit";

/// The note in place of a trace without names.
const NAMELESS: &str = "; the place is not known, because the component has no names of its functions; `witgate plugin build --debug` keeps them";

/// Maximum length in bytes of the quoted output. The end is quoted, because it says most.
const MOST_SAID: usize = 1000;

fn last_output(said: &LastLines) -> String {
    let mut last_output: Vec<&str> = Vec::new();
    let mut room = MOST_SAID;
    for line in said.lines().rev() {
        room = match room.checked_sub(line.len()) {
            Some(room) => room,
            None => break,
        };
        last_output.push(line);
    }
    last_output.reverse();
    match last_output.is_empty() {
        true => String::new(),
        false => format!("; its last output: {}", last_output.join(" | ")),
    }
}

fn failure_of(error: &wasmtime::Error, root: &str) -> Failure {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Failure::Timeout,
        Some(Trap::StackOverflow) => Failure::Stack,
        Some(_) => Failure::Trap,
        None if error.is::<wasmtime::PoolConcurrencyLimitError>() || of_machine(error) => {
            Failure::Unavailable
        }
        None if is_full_table(error) => Failure::Handles,
        // Two errors of the engine that have no type of their own.
        None if root.starts_with("too much data is being copied") => Failure::Output,
        None if root.contains("component handles") => Failure::Handles,
        // The component's code was not running: it has answered, and the answer cannot be read.
        None if !error.is::<WasmBacktrace>() => Failure::BadOutput,
        None => Failure::Trap,
    }
}

/// True if the system refused a resource to the engine, such as memory or descriptors.
pub(super) fn of_machine(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| {
        let errno = cause.downcast_ref::<rustix::io::Errno>().map(|errno| std::io::Error::from(*errno));
        let machine = |error: &std::io::Error| Cause::of(error).may_pass();
        errno.as_ref().or(cause.downcast_ref()).is_some_and(machine)
    })
}

fn is_full_table(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(ResourceTableError::Full)))
}
