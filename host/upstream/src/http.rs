//! An upstream that speaks Streamable HTTP. The checked body goes on as it came; the headers are
//! made anew from the decided call, so nothing of the caller's gets through that was not looked at.

mod answering;
mod asked;
mod bridging;
pub(super) mod events;
mod fault;
mod held;
mod keeps;
mod line;
mod lost;
mod media;
mod outgoing;
mod passing;
mod redirect;
mod refusal;
mod response;
mod sse;
#[cfg(test)]
mod tests;
mod upstream;

pub use line::Within;
pub use outgoing::Outgoing;
pub use sse::Sse;
pub(super) use upstream::Giving;
pub use upstream::{HttpUpstream, SetUpError};
