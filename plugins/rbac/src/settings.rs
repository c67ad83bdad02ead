//! The settings of an `rbac` policy, as they are written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Number, Value};

/// The settings of an `rbac` policy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The roles, by name. A role of the caller that is not here means nothing.
    pub roles: BTreeMap<String, Role>,
    /// Scopes that a call needs, by pattern. Where several patterns cover a call, it needs the
    /// scopes of all of them.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<ScopeName>>")]
    pub scopes: BTreeMap<String, Vec<String>>,
    /// Scopes that stand for others: who has the first has those on its list, and what they stand for.
    #[serde(default)]
    pub scope_implies: BTreeMap<String, Vec<String>>,
    /// Conditions that hold for everybody, whatever the role.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Roles that certain callers have besides those of their credential.
    #[serde(default)]
    pub subjects: Vec<RoleHolder>,
    /// The verdict on a call that no rule allows: always `deny`.
    #[serde(default)]
    pub default: DefaultDecision,
}

/// A scope that calls may need: the host offers it to OAuth clients.
#[derive(JsonSchema)]
#[schemars(inline, transparent, extend("format" = "witgate-scope"))]
#[allow(dead_code, reason = "for the schema")]
#[schemars(rename = "Scope")]
struct ScopeName(String);

/// One role.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Patterns of what it allows.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Patterns of what it denies, whatever this or another role allows.
    #[serde(default)]
    pub deny: Vec<String>,
    /// Roles whose patterns and conditions it has too.
    #[serde(default)]
    pub inherits: Vec<String>,
    /// Conditions under which this role's own `allow` counts.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// A condition on the arguments of a call or on the claims of the caller: all that it says has to
/// hold. What it looks at has to be there.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The pattern of the calls that it is for.
    pub on: String,
    /// The argument that it looks at, as a JSON Pointer (RFC 6901). Lists show a tool as if the
    /// condition held.
    pub argument: Option<String>,
    /// The claim that it looks at; dots lead into objects.
    pub claim: Option<String>,
    /// It has this value.
    pub equals: Option<Value>,
    /// It has one of these values.
    pub one_of: Option<Vec<Value>>,
    /// It is a text of this shape, in which `*` is any run of characters. Text, not a path: `..`
    /// is nothing special.
    pub matches: Option<String>,
    /// It is a number, and at least this.
    pub min: Option<Number>,
    /// It is a number, and at most this.
    pub max: Option<Number>,
    /// It is a list that has this value in it.
    pub contains: Option<Value>,
}

/// A caller, or all of one policy, with roles.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Subject")]
pub struct RoleHolder {
    /// The caller's name. Absent: everybody whom the policy has proved.
    pub subject: Option<String>,
    /// The policy that has to have proved it: another policy's caller of the same name is
    /// somebody else.
    pub policy: String,
    /// The issuer of the identity, where the policy knows several.
    pub issuer: Option<String>,
    /// The roles.
    pub roles: Vec<String>,
}

/// The verdict where no rule applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[schemars(rename = "Fallback")]
pub enum DefaultDecision {
    /// The call is denied.
    #[default]
    Deny,
}
