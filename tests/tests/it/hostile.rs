//! Deliberately malicious components: the end of each, without an effect on other callers.

mod bombs;
mod breaker;
mod calls;
mod expectations;
mod files;
mod interference;
mod isolation;
mod mixed_gateway;
mod refusals;
mod server;
mod stdio;

/// The host's own limits are on the time that passes, and on a busy machine that is much.
const PATIENT: &str = "limits = { timeout_ms = 20000 }";

/// True if a text has nothing that a terminal would act on, or that would turn a line around.
fn is_clean(text: &str) -> bool {
    !text.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{2066}', '\0', '\r'])
}
