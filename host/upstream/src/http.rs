//! An upstream with Streamable HTTP. The checked body is passed on unchanged. The headers are composed from the
//! decided call, so that no unchecked header of the caller is passed on.

mod answer_stream;
mod authorization;
mod bound_session;
mod bridge;
mod composed_request;
pub(super) mod events;
mod farewells;
mod fault;
mod held_session;
mod line;
mod live_request_settings;
mod lost_session;
mod media;
mod open_requests;
mod outgoing;
mod redirect;
mod refusal;
mod request_settings;
mod response;
mod session_keeping;
mod sse;
mod streamed_answer;
#[cfg(test)]
mod tests;
mod upstream;

pub use line::EmbeddedService;
pub(super) use live_request_settings::LiveRequestSettings;
pub use outgoing::Outgoing;
pub use request_settings::SetUpError;
pub use sse::Sse;
pub use upstream::HttpUpstream;
