//! Bytes → [`call::Call`]: parses the messages of clients, their headers, and their credentials. It makes no
//! decisions, and does not know callers, policies or upstreams.

#![forbid(unsafe_code)]

pub mod argument_credentials;
pub mod call;
pub mod certificate;
pub mod credential;
pub mod era;
pub mod fault;
#[cfg(test)]
mod growth;
pub mod headers;
mod injected_arguments;
pub mod input_round;
pub mod json;
pub mod method;
pub mod names;
mod nulls;
mod numbers;
pub mod parse;
pub mod search;
pub mod strict_json;
