//! The roles that claims give.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::json::Json;
use crate::{Claims, Host, Level};

/// Stands in the place of all roles of a caller whose roles could not be read whole. A part of them would
/// not do: a role that is left out may be one that denies. Authorizers that deny by roles have to deny
/// it; `rbac` does.
pub const UNREAD_ROLES: &str = "witgate:unread-roles";

/// As many roles as an identity may have.
const MOST: usize = 256;

/// The claims with a caller's roles, as settings name them: one path or a list of paths, whose roles are
/// put together. A path is a text with dots between, or a list of names, of which each may hold dots.
///
/// ```
/// use witgate_plugin::RolesClaim;
///
/// let claim: RolesClaim = serde_json::from_str(r#"["groups", ["resource_access", "my.client", "roles"]]"#)?;
/// assert!(claim.is_usable());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum RolesClaim {
    /// One path with dots.
    One(String),
    /// Several paths. An empty list: roles are not read.
    Several(Vec<ClaimPath>),
}

/// Where a claim is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum ClaimPath {
    /// A name, or names with dots between.
    Dotted(String),
    /// Names that lead into objects, as they are.
    Names(Vec<String>),
}

impl Default for RolesClaim {
    fn default() -> Self {
        Self::One("roles".to_owned())
    }
}

impl RolesClaim {
    /// Whether no name is empty.
    pub fn is_usable(&self) -> bool {
        match self {
            Self::One(path) => !path.is_empty(),
            Self::Several(paths) => paths.iter().all(|path| match path {
                ClaimPath::Dotted(path) => !path.is_empty(),
                ClaimPath::Names(names) => !names.is_empty() && !names.iter().any(String::is_empty),
            }),
        }
    }

    /// The roles that `claims` give; with `keys`, an object stands for its members' names. A genuine token
    /// whose roles cannot be read stays genuine (RFC 6750, section 3.1: another one would say the same): its
    /// holder has [`UNREAD_ROLES`] alone, and the log names the claim.
    pub fn read<H: Host>(&self, host: &H, claims: &Claims<'_>, keys: bool) -> Vec<String> {
        self.all(claims, keys).unwrap_or_else(|reason| {
            host.log(Level::Warn, &format!("{reason}; the caller counts as one whose roles are not known"));
            vec![UNREAD_ROLES.to_owned()]
        })
    }

    fn all(&self, claims: &Claims<'_>, keys: bool) -> Result<Vec<String>, String> {
        let mut roles = Vec::new();
        let mut add = |path: &dyn fmt::Display, value, elsewhere| match value {
            None if elsewhere => Err(format!("the roles of the claim {path} are elsewhere (`_claim_names`)")),
            value => {
                let words = value.map_or(Some(Vec::new()), |value| words(value, keys));
                roles.extend(words.ok_or_else(|| format!("the claim {path} holds no list of roles"))?);
                Ok(())
            }
        };
        match self {
            Self::One(path) => add(&Dotted(path), claims.get(path), claims.is_elsewhere(path))?,
            Self::Several(paths) => {
                for path in paths {
                    match path {
                        ClaimPath::Dotted(path) => {
                            add(&Dotted(path), claims.get(path), claims.is_elsewhere(path))?;
                        }
                        ClaimPath::Names(names) => {
                            let elsewhere = matches!(&names[..], [name] if claims.is_elsewhere(name));
                            add(&format_args!("{names:?}"), claims.at(names), elsewhere)?;
                        }
                    }
                }
            }
        }
        roles.sort_unstable();
        roles.dedup();
        match roles.len() <= MOST {
            true => Ok(roles.into_iter().map(str::to_owned).collect()),
            false => Err(format!("the claims of `roles_claim` ({self}) hold more than {MOST} roles")),
        }
    }
}

fn words<'v>(value: &'v Json<'_>, keys: bool) -> Option<Vec<&'v str>> {
    let words: Vec<&str> = match value {
        Json::String(text) => vec![text],
        Json::Array(items) => items.iter().map(Json::as_str).collect::<Option<_>>()?,
        Json::Object(members) if keys => members.iter().map(|(name, _)| name).collect(),
        _ => return None,
    };
    let usable = |word: &&str| (1..=256).contains(&word.len()) && !word.chars().any(char::is_control);
    words.iter().all(usable).then_some(words)
}

struct Dotted<'a>(&'a str);

impl fmt::Display for Dotted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl fmt::Display for RolesClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(path) => write!(f, "{path:?}"),
            Self::Several(paths) => f
                .debug_list()
                .entries(paths.iter().map(|path| match path {
                    ClaimPath::Dotted(path) => std::slice::from_ref(path),
                    ClaimPath::Names(names) => names.as_slice(),
                }))
                .finish(),
        }
    }
}

impl JsonSchema for RolesClaim {
    fn schema_name() -> Cow<'static, str> {
        "RolesClaim".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = json_schema!({ "type": "string", "minLength": 1 });
        let names = json_schema!({ "type": "array", "items": text, "minItems": 1 });
        json_schema!({ "anyOf": [text, { "type": "array", "items": { "anyOf": [text, names] } }] })
    }
}
