//! Arguments of tools that contain credentials.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use witgate_plugin::{Pattern, TargetKind};

/// The argument of tools that contains a policy's credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentSettings {
    /// The name of a top-level member of `params.arguments`.
    pub name: Arc<str>,
    /// The tools that have it.
    pub on: Arc<[Pattern]>,
    /// The texts of these patterns.
    pub on_texts: Arc<[String]>,
    /// The argument in the input schemas that callers see.
    pub schema: ArgumentSchema,
    /// The value of the argument that the server gets in place of what callers send. None: it gets none.
    pub inject: Option<InjectedValue>,
}

/// The server's own value of an argument, which is a secret.
#[derive(Clone, Debug)]
pub struct InjectedValue(Arc<SecretString>);

impl From<SecretString> for InjectedValue {
    fn from(value: SecretString) -> Self {
        Self(Arc::new(value))
    }
}

impl InjectedValue {
    /// The value, for the message to the server alone.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for InjectedValue {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for InjectedValue {}

impl ArgumentSettings {
    /// True if the tool has the argument.
    pub fn is_of(&self, tool: &str) -> bool {
        self.on.iter().any(|pattern| pattern.matches(TargetKind::Tool, tool))
    }
}

/// The argument in the input schemas of tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArgumentSchema {
    /// Callers without a credential see it, and others do not.
    #[default]
    Auto,
    /// All callers see it.
    Show,
    /// No caller sees it.
    Hide,
    /// The schema is that of the server.
    Keep,
}

impl ArgumentSchema {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Show => "show",
            Self::Hide => "hide",
            Self::Keep => "keep",
        }
    }
}
