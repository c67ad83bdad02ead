//! `[accounts]` in its written form.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::AccountLogin;

/// People who log in at Witgate itself, and the tokens that their clients get.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Accounts {
    /// Path of the database. Default: `accounts.db`.
    pub store: Option<String>,
    /// `iss` of the tokens: an origin, such as `https://mcp.example.com`. Default: the origin of `server.resource`.
    pub issuer: Option<String>,
    /// Minutes for which an access token is valid. Default: 60. The end of a login ends it in any case.
    #[schemars(range(min = 5, max = 1440))]
    pub access_ttl_min: Option<u64>,
    /// Days after which a person has to log in again. Default: 30.
    #[schemars(range(min = 1, max = 365))]
    pub refresh_ttl_days: Option<u64>,
    /// Days without a refresh after which the access of a client ends. Default: 14.
    #[schemars(range(min = 1, max = 365))]
    pub refresh_idle_days: Option<u64>,
    /// Hours for which a browser stays logged in. Default: 12.
    #[schemars(range(min = 1, max = 720))]
    pub session_ttl_h: Option<u64>,
    /// Minutes without a page after which a browser is logged out. Default: 30.
    #[schemars(range(min = 1, max = 43_200))]
    pub session_idle_min: Option<u64>,
    /// The ways in which unknown clients are accepted: `cimd` (client ID metadata documents) and `dcr` (dynamic client
    /// registration). Default: both.
    pub registration: Option<Vec<ClientRegistration>>,
    /// The scopes that clients may get, each with its description for people.
    pub scopes: BTreeMap<String, String>,
    /// The need for a second factor: `optional` or `required`. Default: `optional`.
    pub second_factor: Option<SecondFactor>,
    /// With `optional`: the roles whose users need a second factor all the same. Default: none.
    pub second_factor_roles: Vec<String>,
    /// Days for which a browser asks for no code after its user has shown one there, if they choose that. Default: 30; with
    /// 0, nobody can.
    #[schemars(range(max = 90))]
    pub second_factor_remember_days: Option<u64>,
    /// The providers at which people log in, in place of a password. Default: none.
    pub login: BTreeMap<String, AccountLogin>,
}

/// The need for a second factor besides a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecondFactor {
    /// Everybody decides for themselves.
    Optional,
    /// Nobody is logged in without one. Who has none sets one up at the next login.
    Required,
}

/// A way in which unknown clients are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientRegistration {
    /// By the URL of a document about the client.
    Cimd,
    /// By a request of the client (RFC 7591).
    Dcr,
}
