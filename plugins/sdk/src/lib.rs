//! What every Witgate plugin stands on.
//!
//! A policy is written once, as ordinary Rust over the traits of this crate: [`Plugin`] for what
//! it is and how it is configured, [`Authenticate`] and [`Authorize`] for its hooks, and [`Host`]
//! for everything it may ask of the host. The host links that library natively as a built-in;
//! [`export_authenticator!`], [`export_authorizer!`] and [`export_policy!`] turn the same library
//! into a component of the WIT package `witgate:auth`.
//!
//! The value types mirror that package one to one; their bounds are documented there.

mod claims;
mod export;
mod hooks;
mod host;
pub mod issuer;
pub mod json;
mod pattern;
mod scope;
mod settings;
mod terms;
mod types;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;

pub use claims::{ClaimError, Claims, Leeway};
pub use hooks::{Authenticate, Authorize, ConfigError, Data, Description, Plugin, Wants};
pub use host::{
    Algorithm, Assertion, Client, ClientAuth, Digest, Host, HttpError, HttpRequest, HttpResponse, Level,
    Method, Signed, VerifyError,
};
pub use pattern::{Glob, Pattern, PatternError, Rules, Verdict as RuleVerdict};
pub use scope::{OFFLINE_ACCESS, is_scope};
pub use settings::{Dpop, OneOrMany};
pub use terms::Terms;
pub use types::{
    Call, Credential, Decision, Denial, Identity, Principal, Refusal, Scheme, TargetKind, Transport,
    Unavailability, Unproven, Verdict,
};
