//! The traits that a policy implements.

use std::future::Future;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Call, Credential, Decision, EntryDecision, Host, Principal, Scheme, Unavailability, Verdict};

/// The properties of a plugin that do not depend on its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The plugin's name in kebab case.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// One sentence about what the plugin checks.
    pub summary: String,
    /// JSON Schema of the settings. The WIT record `description` documents the `witgate-…` formats.
    pub config_schema: String,
}

/// The parts of a request that the plugin wants to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// The call's arguments.
    pub arguments: bool,
    /// The call's `_meta`.
    pub meta: bool,
    /// The peer's address.
    pub peer: bool,
    /// The identity's claims.
    pub claims: bool,
}

/// The data that the plugin needs with its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Credential schemes that the plugin judges, in order of preference.
    pub schemes: Vec<Scheme>,
    /// Name of the header that contains the credential, for [`Scheme::Header`]; or the names of several, separated by
    /// commas, one of which a caller uses.
    pub credential_header: Option<String>,
    /// Names of other headers that the plugin reads.
    pub headers: Vec<String>,
    /// Other data that the plugin reads.
    pub data: Data,
}

/// The error in the settings.
///
/// ```
/// use witgate_plugin::ConfigError;
///
/// let error = ConfigError::at_path(&["roles", "dev"], "names no pattern; write at least one");
/// assert_eq!(error.to_string(), "/roles/dev: names no pattern; write at least one");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// JSON Pointer (RFC 6901) to the setting; empty for the settings as a whole.
    pub pointer: String,
    /// The error, and what to write instead.
    pub message: String,
}

impl ConfigError {
    /// An error at a setting.
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }

    /// An error at the setting that `path` leads to, member by member.
    pub fn at_path<S: AsRef<str>>(path: &[S], message: impl Into<String>) -> Self {
        let escaped = |name: &S| format!("/{}", name.as_ref().replace('~', "~0").replace('/', "~1"));
        Self::at(path.iter().map(escaped).collect::<String>(), message)
    }
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pointer.as_str() {
            "" => f.write_str(&self.message),
            pointer => write!(f, "{pointer}: {}", self.message),
        }
    }
}

impl std::error::Error for ConfigError {}

/// A policy: its description and its settings. One value is one configured instance.
pub trait Plugin: Sized + Send + Sync + 'static {
    /// The plugin's name in kebab case.
    const NAME: &'static str;
    /// The plugin's own version.
    const VERSION: &'static str;
    /// One sentence about what the plugin checks.
    const SUMMARY: &'static str;
    /// The settings. Refuse unknown fields, so that a typo is an error.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes a policy from its settings, and says which data it needs. `policy` is the name that
    /// the operator gave this policy.
    ///
    /// # Errors
    /// With the invalid setting, and what to write instead.
    fn configure(policy: &str, config: Self::Config) -> Result<(Self, Wants), ConfigError>;

    /// Describes the plugin.
    fn describe() -> Description {
        Description {
            name: Self::NAME.to_owned(),
            version: Self::VERSION.to_owned(),
            summary: Self::SUMMARY.to_owned(),
            config_schema: schemars::schema_for!(Self::Config).to_value().to_string(),
        }
    }

    /// Makes a policy from its settings as JSON text.
    ///
    /// # Errors
    /// If the text does not have the shape of the settings, and as [`Plugin::configure`].
    fn configure_json(policy: &str, config: &str) -> Result<(Self, Wants), ConfigError> {
        let mut reader = serde_json::Deserializer::from_str(config);
        let config = serde_path_to_error::deserialize(&mut reader).map_err(|e| shape_error(&e))?;
        Self::configure(policy, config)
    }
}

/// The error for settings that do not have the right shape. It names no place in the JSON text, because the operator
/// never sees that text.
fn shape_error(error: &serde_path_to_error::Error<serde_json::Error>) -> ConfigError {
    use serde_path_to_error::Segment;
    let path: Vec<String> = error
        .path()
        .iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect();
    let message = error.inner().to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
    ConfigError::at_path(&path, message)
}

/// The hook of an authenticator.
///
/// The future waits only for functions of [`Host`]. Inside a component, each of them is finished
/// when it returns.
pub trait Authenticate: Plugin {
    /// Establishes the identity of the caller that `credential` belongs to.
    fn authenticate<H: Host>(
        &self,
        host: &H,
        call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> impl Future<Output = Verdict> + Send;
}

/// The hook of an authorizer.
pub trait Authorize: Plugin {
    /// Decides whether `principal` may make `call`. An authorizer never gets the credential.
    fn authorize<H: Host>(
        &self,
        host: &H,
        call: &Call<'_>,
        principal: &Principal<'_>,
    ) -> impl Future<Output = Decision> + Send;

    /// Decides about entries of a list: for each of `targets`, what [`Authorize::authorize`] decides about `call` with
    /// this target. The answer has one decision for each, in the same order.
    ///
    /// Replace it only to do work once that all entries need, and decide the same. Otherwise a list shows what cannot
    /// be called, or hides what can be.
    ///
    /// # Errors
    /// If it cannot decide about one of them.
    fn authorize_entries<H: Host>(
        &self,
        host: &H,
        call: &Call<'_>,
        targets: &[&str],
        principal: &Principal<'_>,
    ) -> impl Future<Output = Result<Vec<EntryDecision>, Unavailability>> + Send {
        async move {
            let mut decisions = Vec::with_capacity(targets.len());
            for target in targets {
                let decision = self.authorize(host, &Call { target, ..*call }, principal).await;
                decisions.push(decision.try_into()?);
            }
            Ok(decisions)
        }
    }
}
