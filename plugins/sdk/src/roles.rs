//! The roles that claims give.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::json::{Json, Object};
use crate::{Claims, Host, Level, OneOrMany};

/// The role of a caller whose roles could not all be read. It replaces all others, because a missing role may be
/// one that denies. The host denies every call of this caller that needs a rule, and asks no authorizer.
pub const UNREAD_ROLES: &str = "witgate:unread-roles";

/// The largest number of roles of an identity.
const MOST: usize = 256;

/// The claims with a caller's roles, as settings name them: one path, or a list of paths whose roles are
/// combined. A path is a text of names with dots between them, or a list of names, which may contain dots.
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

/// The path of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum ClaimPath {
    /// A name, or names with dots between them.
    Dotted(String),
    /// Names of nested objects, in which dots have no meaning.
    Names(Vec<String>),
}

impl Default for RolesClaim {
    fn default() -> Self {
        Self::One("roles".to_owned())
    }
}

impl RolesClaim {
    /// True if no name is empty.
    pub fn is_usable(&self) -> bool {
        self.paths().iter().all(|path| match path {
            Path::Dotted(path) => !path.is_empty(),
            Path::Names(names) => !names.is_empty() && !names.iter().any(String::is_empty),
        })
    }

    /// The first path, as names. None: roles are not read.
    pub fn first(&self) -> Option<Vec<&str>> {
        self.paths().first().map(|path| match path {
            Path::Dotted(path) => path.split('.').collect(),
            Path::Names(names) => names.iter().map(String::as_str).collect(),
        })
    }

    /// The paths of the claims with the roles.
    pub fn starts(&self) -> Vec<&str> {
        self.paths().iter().flat_map(Path::starts).collect()
    }

    fn paths(&self) -> Vec<Path<'_>> {
        match self {
            Self::One(path) => vec![Path::Dotted(path)],
            Self::Several(paths) => paths.iter().map(Path::of).collect(),
        }
    }
}

/// The source of a caller's roles.
#[derive(Clone, Copy, Debug)]
pub struct Roles<'s> {
    /// The path of the roles.
    pub claim: &'s RolesClaim,
    /// True if the names of an object's members are the roles.
    pub are_keys: bool,
    /// The roles that count. None: all.
    pub only: Option<&'s OneOrMany>,
}

impl Roles<'_> {
    /// The roles in `claims`. A token whose roles cannot be read is still valid, because a new token would have
    /// the same fault (RFC 6750, section 3.1). Its holder gets the role [`UNREAD_ROLES`] alone, and the log names
    /// the claim.
    pub fn read<H: Host>(&self, host: &H, claims: &Claims<'_>) -> Vec<String> {
        self.all(claims).unwrap_or_else(|reason| {
            host.log(Level::Warn, &format!("{reason}; every call of the caller that needs a rule is denied"));
            vec![UNREAD_ROLES.to_owned()]
        })
    }

    fn all(&self, claims: &Claims<'_>) -> Result<Vec<String>, String> {
        let paths = self.claim.paths();
        let mut roles = Vec::new();
        for path in &paths {
            roles.extend(self.at(path, claims).map_err(|problem| format!("the claim {path} {problem}"))?);
        }
        roles.sort_unstable();
        roles.dedup();
        match roles.len() <= MOST {
            true => Ok(roles.into_iter().map(str::to_owned).collect()),
            false => {
                let claims: Vec<String> = paths.iter().map(Path::to_string).collect();
                Err(format!(
                    "there are more than {MOST} roles in {}; write those that count into `only_roles`",
                    claims.join(" and ")
                ))
            }
        }
    }

    fn at<'c>(&self, path: &Path<'_>, claims: &'c Claims<'_>) -> Result<Vec<&'c str>, &'static str> {
        if path.starts().any(|name| claims.is_elsewhere(name)) {
            return Err("is not in the token; the issuer offers it at another place");
        }
        let Some(value) = path.in_object(claims.members())? else { return Ok(Vec::new()) };
        let words: Option<Vec<&str>> = match value {
            Json::String(text) => Some(vec![text]),
            Json::Array(items) => items.iter().map(Json::as_str).collect(),
            Json::Object(members) if self.are_keys => Some(members.iter().map(|(name, _)| name).collect()),
            _ => None,
        };
        let mut words = words.ok_or("is not a list of roles")?;
        words.retain(|word| self.only.is_none_or(|only| only.has(word)));
        match words.iter().all(|word| is_role(word)) {
            true => Ok(words),
            false => Err("contains a role that is empty, longer than 256 bytes, or has control characters"),
        }
    }
}

fn is_role(word: &str) -> bool {
    (1..=256).contains(&word.len()) && !word.chars().any(char::is_control)
}

/// A [`ClaimPath`], borrowed.
enum Path<'a> {
    Dotted(&'a str),
    Names(&'a [String]),
}

impl<'a> Path<'a> {
    fn of(path: &'a ClaimPath) -> Self {
        match path {
            ClaimPath::Dotted(path) => Self::Dotted(path),
            ClaimPath::Names(names) => Self::Names(names),
        }
    }

    /// The names of the claims at which the path may begin.
    fn starts(&self) -> impl Iterator<Item = &'a str> {
        let (whole, first) = match *self {
            Self::Dotted(path) => (Some(path), path.split('.').next()),
            Self::Names(names) => (None, names.first().map(String::as_str)),
        };
        whole.into_iter().chain(first)
    }

    /// The value at the path; `null` counts as absent. It is an error if the path leads through a value that is
    /// not an object, because the token may have roles that the policy does not find.
    fn in_object<'v, 'j>(&self, object: &'v Object<'j>) -> Result<Option<&'v Json<'j>>, &'static str> {
        let (whole, split) = match *self {
            Self::Dotted(path) => {
                let split = path.split_once('.').map(|(first, rest)| (first, Self::Dotted(rest)));
                (object.get(path), split)
            }
            Self::Names([name]) => (object.get(name), None),
            Self::Names(names) => {
                (None, names.split_first().map(|(first, rest)| (first.as_str(), Self::Names(rest))))
            }
        };
        match (whole, split) {
            (Some(Json::Null), _) | (None, None) => Ok(None),
            (Some(value), _) => Ok(Some(value)),
            (None, Some((first, rest))) => match object.get(first) {
                None | Some(Json::Null) => Ok(None),
                Some(Json::Object(inner)) => rest.in_object(inner),
                Some(_) => Err("is below a value that is not an object"),
            },
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dotted(path) => write!(f, "`{path}`"),
            Self::Names(names) => write!(f, "{names:?}"),
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
