//! Plugins for [Witgate](https://github.com/witgate/witgate), which stands before MCP servers and decides who may call
//! which tool.
//!
//! A policy is a Rust library that uses the traits of this crate: [`Plugin`] for its description and
//! settings, [`Authenticate`] and [`Authorize`] for its hooks, and [`Host`] for the functions of the
//! host. [`export_authenticator!`], [`export_authorizer!`] and [`export_policy!`] turn the library into
//! a component of the WIT package `witgate:auth`. In a native build they do nothing, so tests and hosts
//! can link the same library.
//!
//! # A whole plugin
//!
//! Every caller may call tools that only read. Within their own tenant, callers may call all tools:
//!
//! ```
//! use schemars::JsonSchema;
//! use serde::Deserialize;
//! use witgate_plugin::{
//!     Authorize, Call, ConfigError, Data, Decision, Host, Level, Plugin, Principal, Wants, json,
//! };
//!
//! /// The settings under `config`. The doc comments become descriptions in their JSON Schema.
//! #[derive(Debug, Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! pub struct Settings {
//!     /// Prefixes of the names of tools that only read.
//!     reading: Vec<String>,
//! }
//!
//! #[derive(Debug)]
//! pub struct OwnTenant {
//!     reading: Vec<String>,
//! }
//!
//! impl Plugin for OwnTenant {
//!     const NAME: &'static str = "own-tenant";
//!     const VERSION: &'static str = env!("CARGO_PKG_VERSION");
//!     const SUMMARY: &'static str = "Lets everybody read, and callers write in their own tenant.";
//!     type Config = Settings;
//!
//!     fn configure(_policy: &str, settings: Settings) -> Result<(Self, Wants), ConfigError> {
//!         if settings.reading.iter().any(String::is_empty) {
//!             return Err(ConfigError::at("/reading", "an empty prefix covers every tool; leave it out"));
//!         }
//!         // The host passes only the data that the plugin wants.
//!         let data = Data { arguments: true, claims: true, ..Data::default() };
//!         Ok((Self { reading: settings.reading }, Wants { data, ..Wants::default() }))
//!     }
//! }
//!
//! impl Authorize for OwnTenant {
//!     async fn authorize<H: Host>(&self, host: &H, call: &Call<'_>, _: &Principal<'_>) -> Decision {
//!         // An entry of a list has no arguments. Show it if it is callable with some arguments.
//!         if call.listing || self.reading.iter().any(|prefix| call.target.starts_with(prefix)) {
//!             return Decision::Allow;
//!         }
//!         let (claims, arguments) = (host.claims(), host.arguments());
//!         match (member(claims.as_deref(), "tenant"), member(arguments.as_deref(), "tenant")) {
//!             (Some(own), Some(named)) if own == named => Decision::Allow,
//!             (_, named) => {
//!                 host.log(Level::Info, &format!("the tenant {named:?} is not the caller's"));
//!                 Decision::deny("other-tenant", "the call is about a tenant that is not the caller's")
//!             }
//!         }
//!     }
//! }
//!
//! fn member(object: Option<&str>, name: &str) -> Option<String> {
//!     json::parse_object(object?).ok()?.get(name)?.as_str().map(str::to_owned)
//! }
//!
//! witgate_plugin::export_authorizer!(OwnTenant);
//!
//! // In `#[cfg(test)] mod tests`, with a host whose time, claims, keys and servers are the test's own:
//! use witgate_plugin::testing::{FakeHost, Person, tool};
//!
//! let (plugin, wants) = OwnTenant::configure_json("tenants", r#"{ "reading": ["get_"] }"#)?;
//! let ada = Person::named("ada");
//! let host = || FakeHost::new().wanting(&wants).claims(r#"{ "tenant": "acme" }"#);
//!
//! let own = host().arguments(r#"{ "tenant": "acme" }"#);
//! assert_eq!(own.authorize(&plugin, &tool("delete"), &ada.principal()), Decision::Allow);
//!
//! let other = host().arguments(r#"{ "tenant": "initech" }"#);
//! let decision = other.authorize(&plugin, &tool("delete"), &ada.principal());
//! assert!(matches!(decision, Decision::Deny(denial) if denial.reason == "other-tenant"));
//! assert_eq!(other.log_lines().len(), 1);
//! # Ok::<(), ConfigError>(())
//! ```
//!
//! # Where to look
//!
//! - The arguments and results of hooks: [`Call`], [`Credential`], [`Principal`]; [`Verdict`], [`Decision`].
//!   They are the types of the WIT package, which documents their limits.
//! - The common parts of the shipped policies: [`Rules`] and [`Pattern`] for names, [`Claims`] and [`Terms`] for
//!   tokens, [`mod@json`] for JSON without duplicate members.
//! - A format in the schema marks settings that the host reads or keeps, such as a file, a key or a secret:
//!   `#[schemars(extend("format" = "witgate-file"))]`. The README of the WIT package lists the formats.
//! - [`mod@testing`] has the host for unit tests.

mod claims;
mod export;
mod hooks;
mod host;
pub mod issuer;
pub mod json;
mod pattern;
mod place;
mod required_claims;
mod roles;
mod scope;
mod settings;
mod terms;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod types;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;

pub use claims::{ClaimError, Claims, Leeway};
pub use hooks::{Authenticate, Authorize, ConfigError, Data, Description, Plugin, Wants};
pub use host::{
    Algorithm, Assertion, Client, ClientAuth, Digest, Host, HttpError, HttpRequest, HttpResponse, Level,
    Method, PasswordError, SignedMessage, VerifyError,
};
pub use pattern::{Glob, Pattern, PatternError, RuleVerdict, Rules};
pub use place::{TokenPlace, check_credential_header, check_credential_headers};
pub use required_claims::RequiredClaims;
pub use roles::{ClaimPath, Roles, RolesClaim, UNREAD_ROLES};
pub use scope::{OFFLINE_ACCESS, is_scope};
pub use settings::{Dpop, OneOrMany};
pub use terms::{Audience, Terms};
pub use types::{
    Call, Credential, Decision, Denial, EntryDecision, Identity, NoIdentity, Principal, Refusal, Scheme,
    TargetKind, ToolAnnotations, Transport, Unavailability, Verdict,
};

/// Compiles the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
