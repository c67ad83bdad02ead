//! The settings of an `rbac` policy, in the form of the configuration.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Number, Value};
use witgate_plugin::ToolAnnotations;

/// The settings of an `rbac` policy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The roles, by name. Other roles of a caller have no effect.
    pub roles: BTreeMap<String, Role>,
    /// Scopes that a call needs, by pattern. If several patterns cover a call, it needs the scopes of
    /// all of them.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<ScopeName>>")]
    pub scopes: BTreeMap<String, Vec<String>>,
    /// The scope of each call that no pattern in `scopes` covers, such as `mcp:tool:{tool}`. `{kind}` and `{name}` stand
    /// for the kind and the name of a tool, a resource or a prompt; `{tool}` is the name of a tool, and such a template
    /// is about tools only.
    #[serde(default)]
    pub scope_template: Option<String>,
    /// True if `*` in a caller's scope stands for any characters in the place of the template's first placeholder and
    /// after it.
    #[serde(default)]
    pub scope_wildcards: bool,
    /// Scopes that imply others: a caller with the scope also has those of its list, and all that these imply.
    #[serde(default)]
    pub scope_implies: BTreeMap<String, Vec<String>>,
    /// Policies whose callers need no scopes, such as one with API keys, which have patterns and no scopes.
    #[serde(default)]
    pub unscoped_policies: Vec<String>,
    /// Conditions for all callers, with any role.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Roles of certain callers, in addition to those of their credential.
    #[serde(default)]
    pub subjects: Vec<RoleHolder>,
    /// The verdict on a call that no rule allows: always `deny`.
    #[serde(default)]
    pub default: DefaultDecision,
}

/// A scope that calls may need. The host offers it to OAuth clients.
#[derive(JsonSchema)]
#[schemars(inline, transparent, extend("format" = "witgate-scope"))]
#[allow(dead_code, reason = "for the schema")]
#[schemars(rename = "Scope")]
struct ScopeName(String);

/// One role.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Patterns of the calls that the role allows.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Patterns of the calls that the role denies, even if this or another role allows them.
    #[serde(default)]
    pub deny: Vec<String>,
    /// Roles whose patterns and conditions this role has as well.
    #[serde(default)]
    pub inherits: Vec<String>,
    /// Conditions of this role's own `allow`.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// A condition on an argument of the call, on a claim of the caller, or on an annotation of the tool. All its tests have
/// to hold. If the value is missing, the condition does not hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The pattern of the calls that the condition applies to.
    pub on: String,
    /// The argument to test, as a JSON Pointer (RFC 6901). Lists show a tool as if the condition held.
    pub argument: Option<String>,
    /// The claim to test; dots lead into objects.
    pub claim: Option<String>,
    /// The annotation of the tool to test, as it is approved. Only with `equals`, and only for upstreams with
    /// `pins = "hold"`.
    #[serde(default)]
    #[schemars(with = "Annotation")]
    pub annotation: Option<Annotation>,
    /// The value is this one.
    pub equals: Option<Value>,
    /// The value is one of these.
    pub one_of: Option<Vec<Value>>,
    /// The value is a text that matches this pattern, in which `*` matches any characters. The text is not a
    /// path: `..` has no special meaning.
    pub matches: Option<String>,
    /// The value is a number, and at least this.
    pub min: Option<Number>,
    /// The value is a number, and at most this.
    pub max: Option<Number>,
    /// The value is a list that contains this value.
    pub contains: Option<Value>,
}

/// An annotation of a tool, by its name in MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Annotation {
    /// The tool does not change its environment. Absent in the definition: false.
    #[serde(rename = "readOnlyHint")]
    ReadOnly,
    /// The tool may destroy something. Absent in the definition: true.
    #[serde(rename = "destructiveHint")]
    Destructive,
    /// A second call with the same arguments changes nothing more. Absent in the definition: false.
    #[serde(rename = "idempotentHint")]
    Idempotent,
    /// The tool may act on things outside of the server. Absent in the definition: true.
    #[serde(rename = "openWorldHint")]
    OpenWorld,
}

impl Annotation {
    /// All annotations.
    pub const ALL: [Self; 4] = [Self::ReadOnly, Self::Destructive, Self::Idempotent, Self::OpenWorld];

    /// The name in MCP.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "readOnlyHint",
            Self::Destructive => "destructiveHint",
            Self::Idempotent => "idempotentHint",
            Self::OpenWorld => "openWorldHint",
        }
    }

    /// The value among those of a tool.
    pub fn of(self, annotations: &ToolAnnotations) -> bool {
        match self {
            Self::ReadOnly => annotations.read_only,
            Self::Destructive => annotations.destructive,
            Self::Idempotent => annotations.idempotent,
            Self::OpenWorld => annotations.open_world,
        }
    }
}

/// A caller, or all callers of one policy, with additional roles.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Subject")]
pub struct RoleHolder {
    /// The caller's name. Absent: all callers that the policy has authenticated.
    pub subject: Option<String>,
    /// The policy that authenticated the caller. The same name from another policy is another caller.
    pub policy: String,
    /// The issuer of the identity, if the policy accepts several.
    pub issuer: Option<String>,
    /// The roles.
    pub roles: Vec<String>,
}

/// The verdict if no rule applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[schemars(rename = "Fallback")]
pub enum DefaultDecision {
    /// The call is denied.
    #[default]
    Deny,
}
