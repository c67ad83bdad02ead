//! `[accounts.login]` in its written form.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// A provider at which people log in, in place of a password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountLogin {
    /// The name of a credential of the kind `oauth`: Witgate's client at the provider.
    pub credential: String,
    /// The name of the provider for people. Default: the name of the table.
    #[schemars(length(min = 1, max = 64))]
    pub label: Option<String>,
    /// The people who may log in, such as `domain:example.com`. One rule has to fit, at each login. Default: everybody who
    /// has an account.
    pub allow: Option<Vec<String>>,
    /// `true`: whoever `allow` fits gets an account at their first login. Default: `false`.
    pub new_accounts: Option<bool>,
    /// `true`: the first login with a verified e-mail address gets the account that has this address as its name.
    /// Default: `false`.
    pub match_email: Option<bool>,
    /// Roles, each with the people who have it. At each login, a person gets and loses these roles, and keeps all others.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
}
