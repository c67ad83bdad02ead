//! The place of a failure in a component, by the names of its functions, from the engine's frames.

use std::fmt::{self, Display};

use wasmtime::{FrameInfo, WasmBacktrace};

use witgate_base::printable::clean;

/// Maximum number of functions in a trace. Those further out call the hook.
const MOST: usize = 6;

/// Maximum length of a name of a function or file. Longer ones are cut at the side that says less.
const LONGEST: usize = 120;

/// Functions that are on the stack of every panic.
const MACHINERY: [&str; 10] =
    ["core::", "std::", "alloc::", "__rust", "_rust", "rust_", "<core::", "<std::", "<alloc::", "abort"];

/// Directories of source that is not the plugin's own: the standard library, crates, and generated code.
const FOREIGN: [&str; 3] = ["/rustc/", "/registry/src/", "/sdk/src/guest"];

/// A place in the component's source.
struct SourceLine {
    function: String,
    /// The file and line, if the component has debug information.
    at: Option<String>,
}

impl Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        self.at.as_ref().map_or(Ok(()), |at| write!(f, " ({at})"))
    }
}

/// The call path to the failure, innermost first. None: the component has no names of functions.
pub(super) fn way(trace: &WasmBacktrace) -> Option<String> {
    let named: Vec<SourceLine> = trace.frames().iter().flat_map(places).collect();
    let own: Vec<String> =
        named.iter().filter(|place| !place.is_machinery()).map(SourceLine::to_string).collect();
    let functions: Vec<String> = match own.is_empty() {
        true => named.iter().map(SourceLine::to_string).collect(),
        false => own,
    };
    let functions: Vec<&str> = functions.iter().take(MOST).map(String::as_str).collect();
    (!functions.is_empty()).then(|| functions.join(", called by "))
}

/// The places of a frame. Inlined functions make several places of one frame.
fn places(frame: &FrameInfo) -> Vec<SourceLine> {
    let inlined = frame.symbols().iter().filter_map(|symbol| {
        let at = symbol.file().map(|file| match symbol.line() {
            Some(line) => format!("{}:{line}", end_of(file)),
            None => end_of(file),
        });
        Some(SourceLine { function: name(symbol.name().or(frame.func_name())?), at })
    });
    let inlined: Vec<SourceLine> = inlined.collect();
    match inlined.is_empty() {
        true => {
            frame.func_name().map(|raw| SourceLine { function: name(raw), at: None }).into_iter().collect()
        }
        false => inlined,
    }
}

/// The name in the source, without the hash of the compiler.
fn name(raw: &str) -> String {
    let name = clean(&format!("{:#}", rustc_demangle::demangle(raw)));
    // Debug information contains full types, and has no names for the parts of an `async fn`.
    let name = match name.find('<') {
        _ if name.starts_with("{async_fn") => "an async fn".to_owned(),
        Some(generics) if generics > 0 => name.get(..generics).unwrap_or_default().to_owned(),
        _ => name,
    };
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => name.get(..end).unwrap_or_default().to_owned() + "…",
        None => name,
    }
}

fn end_of(file: &str) -> String {
    let file = clean(file);
    let start = file.len().saturating_sub(LONGEST);
    match (start..file.len()).find(|at| file.is_char_boundary(*at)) {
        Some(start) if start > 0 => format!("…{}", file.get(start..).unwrap_or_default()),
        _ => file,
    }
}

impl SourceLine {
    /// True if the frame belongs to the panic machinery and not to the plugin.
    fn is_machinery(&self) -> bool {
        let foreign = |at: &String| FOREIGN.iter().any(|part| at.contains(part));
        self.at.as_ref().is_some_and(foreign)
            || MACHINERY.iter().any(|start| self.function.starts_with(start))
    }
}
