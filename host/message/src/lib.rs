//! Bytes → [`call::Call`]: the messages of clients, their headers, and the credentials with them, read and not
//! judged. Nothing here knows of callers, policies or upstreams.

#![forbid(unsafe_code)]

pub mod call;
pub mod certificate;
pub mod credential;
pub mod era;
pub mod fault;
#[cfg(test)]
mod growth;
pub mod headers;
pub mod json;
pub mod method;
pub mod names;
mod nulls;
mod numbers;
pub mod parse;
pub mod strict_json;
