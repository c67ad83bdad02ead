//! Arguments of tools that contain credentials.

use std::sync::Arc;

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
}

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
