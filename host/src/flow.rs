//! The life of a request: parse → credential → authenticate → authorize → limit → upstream → audit.

pub mod authenticate;
pub mod authorize;
pub mod call;
pub mod credential;
pub mod headers;
pub mod identity;
pub mod limit;
pub mod message;
pub mod method;
pub mod reject;
pub mod request;
