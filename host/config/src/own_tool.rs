//! Witgate's own tools and resources, of which an upstream may offer some beside its own.

use schemars::JsonSchema;
use serde::Deserialize;

/// An own tool that may be offered beside those of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnTool {
    /// The state of the gateway, and the names of the credentials that it has for the server.
    HealthCheck,
    /// The state of authentication: enabled, and with a key to compare with.
    AuthStatus,
    /// The limits of calls, and what remains of them.
    LimitsStatus,
    /// A token for the caller.
    IssueToken,
    /// The identity of the caller, or the address of the login.
    AuthenticateUser,
    /// The identity of the caller, or the way to show a key.
    AuthenticateWithApiKey,
    /// The end of the caller's login.
    Logout,
    /// The identity of the caller.
    GetUserProfile,
    /// A key of the caller's own.
    CreateApiKey,
    /// The latest entries of the audit log.
    ListAuditEvents,
    /// Counts of outcomes, pauses, logins and keys.
    GetSecuritySummary,
}

impl OwnTool {
    /// The name of the tool.
    pub fn name(self) -> &'static str {
        match self {
            Self::HealthCheck => "health_check",
            Self::AuthStatus => "auth_status",
            Self::LimitsStatus => "limits_status",
            Self::IssueToken => "issue_token",
            Self::AuthenticateUser => "authenticate_user",
            Self::AuthenticateWithApiKey => "authenticate_with_api_key",
            Self::Logout => "logout",
            Self::GetUserProfile => "get_user_profile",
            Self::CreateApiKey => "create_api_key",
            Self::ListAuditEvents => "list_audit_events",
            Self::GetSecuritySummary => "get_security_summary",
        }
    }

    /// True if a call changes something.
    pub fn changes_something(self) -> bool {
        matches!(self, Self::IssueToken | Self::Logout | Self::CreateApiKey)
    }
}

/// An own resource that may be offered beside those of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum OwnResource {
    /// The answer of `get_user_profile`.
    #[serde(rename = "user://profile")]
    UserProfile,
    /// The answer of `get_security_summary`.
    #[serde(rename = "security://summary")]
    SecuritySummary,
}

impl OwnResource {
    /// The URI.
    pub fn uri(self) -> &'static str {
        match self {
            Self::UserProfile => "user://profile",
            Self::SecuritySummary => "security://summary",
        }
    }

    /// The tool that tells the same.
    pub fn tool(self) -> OwnTool {
        match self {
            Self::UserProfile => OwnTool::GetUserProfile,
            Self::SecuritySummary => OwnTool::GetSecuritySummary,
        }
    }
}
