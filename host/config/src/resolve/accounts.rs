//! `[accounts]`, and policies of the kind `accounts`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::credentials::CredentialsByName;
use super::passwords::password_cost;
use super::resolver::{Presence, Resolver};
use super::server::{DEFAULT_STATE, listen};
use super::service_names::service_names;
use crate::accounts::{AccountPlace, AccountResource, AccountSettings, SecondFactorRule};
use crate::raw::{self, ClientRegistration};
use crate::{Policy, PolicyKind, Server, Upstream};

/// Relative to the configuration.
const DEFAULT_STORE: &str = "accounts.db";

/// Long enough for clients that do not refresh in time; the end of a login ends a token at once.
const DEFAULT_ACCESS_MIN: u64 = 60;
const DEFAULT_REFRESH_DAYS: u64 = 30;
const DEFAULT_IDLE_DAYS: u64 = 14;
const DEFAULT_SESSION_H: u64 = 12;
const DEFAULT_SESSION_IDLE_MIN: u64 = 30;
const DEFAULT_REMEMBERED_DAYS: u64 = 30;

/// The scope that asks for a refresh token, which each client gets.
const OFFLINE: &str = "offline_access";

/// The paths of pages and OAuth endpoints.
const OWN_PATHS: [&str; 6] = ["/oauth", "/login", "/logout", "/account", "/authorize", "/token"];
const REGISTER: &str = "/register";

impl Resolver<'_> {
    pub(super) fn accounts(
        &mut self,
        file: &raw::File,
        upstreams: &[Upstream],
        credentials: &CredentialsByName,
    ) -> Option<AccountSettings> {
        let written = file.accounts.as_ref()?;
        self.accounts_are_reachable(file);
        let place = place(file, &self.base);
        self.accounts_exist(&place);
        self.scopes_are_words(&written.scopes);
        self.second_factor_is_consistent(written);
        for upstream in upstreams {
            self.path_is_free(&["upstreams", &upstream.name, "path"], &upstream.path);
        }
        let issuer = self.accounts_issuer(file, written)?;
        let providers = self.account_logins(file, &issuer, credentials);
        let registration = written.registration.as_deref();
        let takes = |way| registration.is_none_or(|ways| ways.contains(&way));
        let minutes = |minutes: Option<u64>, default| Duration::from_secs(60 * minutes.unwrap_or(default));
        let days = |days: Option<u64>, default| Duration::from_secs(86_400 * days.unwrap_or(default));
        let resource = |upstream: &Upstream| AccountResource {
            url: upstream.resource.clone(),
            path: upstream.path.clone(),
            name: upstream.about.name.clone().unwrap_or_else(|| upstream.name.clone()),
        };
        Some(AccountSettings {
            place,
            issuer,
            access_ttl: minutes(written.access_ttl_min, DEFAULT_ACCESS_MIN),
            refresh_ttl: days(written.refresh_ttl_days, DEFAULT_REFRESH_DAYS),
            refresh_idle: days(written.refresh_idle_days, DEFAULT_IDLE_DAYS),
            session_ttl: minutes(written.session_ttl_h.map(|hours| hours * 60), DEFAULT_SESSION_H * 60),
            session_idle: minutes(written.session_idle_min, DEFAULT_SESSION_IDLE_MIN),
            takes_documents: takes(ClientRegistration::Cimd),
            takes_registrations: takes(ClientRegistration::Dcr),
            scopes: written.scopes.clone(),
            password_cost: password_cost(&file.passwords),
            service_names: service_names(file),
            second_factor: second_factor(written),
            second_factor_remembered: days(written.second_factor_remember_days, DEFAULT_REMEMBERED_DAYS),
            resources: upstreams.iter().map(resource).collect(),
            providers,
        })
    }

    /// The policy that a policy of the kind `accounts` is: one of the kind `jwt`, for these tokens only.
    pub(super) fn accounts_policy(&mut self, file: &raw::File, name: &str, written: &raw::Policy) -> Value {
        if file.accounts.is_none() && !self.document.has(&["accounts"]) {
            let message = format!("the policy `{name}` is for accounts, and there is no `[accounts]`");
            self.error(&["policies", name, "kind"], message, "add a table `[accounts]`");
        }
        if !written.config.is_empty() {
            let help = "leave it out; the settings are in `[accounts]`";
            let message = "a policy of the kind `accounts` has no settings of its own";
            self.error(&["policies", name, "config"], message, help);
        }
        let place = place(file, &self.base);
        let issuer = file.accounts.as_ref().map(|written| default_issuer(file, written));
        json!({
            "keys": [{ "jwks_file": place.key_set().display().to_string() }],
            "algorithms": ["ES256"],
            "issuer": issuer.unwrap_or_default(),
            "typ": "at+jwt",
            "revoked": place.ended().display().to_string(),
        })
    }

    /// The server, whose metadata also names the issuer of accounts, and which answers at its host.
    pub(super) fn of_accounts(&self, mut server: Server, accounts: Option<&AccountSettings>) -> Server {
        let Some(AccountSettings { issuer, .. }) = accounts else { return server };
        if !server.authorization_servers.contains(issuer) {
            server.authorization_servers.push(issuer.clone());
        }
        let host = Url::parse(issuer).ok().and_then(|url| url.host_str().map(str::to_owned));
        server.allowed_hosts.extend(host);
        server.allowed_hosts.sort();
        server.allowed_hosts.dedup();
        server
    }

    /// Warns if nobody uses the tokens of accounts.
    pub(super) fn accounts_are_used(&mut self, file: &raw::File, policies: &BTreeMap<String, Policy>) {
        let judges = |(name, written): (&String, &raw::Policy)| {
            matches!(written.kind, raw::Kind::Accounts)
                && policies.get(name).is_some_and(|policy| policy.kind == PolicyKind::Jwt)
        };
        if file.accounts.is_some() && !file.policies.iter().any(judges) {
            let help = "add `[policies.people]` with `kind = \"accounts\"`, and name it in `authenticate`";
            self.warning(&["accounts"], "no policy accepts the tokens of these accounts", help);
        }
    }

    fn accounts_are_reachable(&mut self, file: &raw::File) {
        if matches!(file.server.transport, Some(raw::Transport::Stdio)) {
            let message = "over stdio there are no pages where somebody could log in";
            self.error(&["accounts"], message, "leave `[accounts]` out, or use `transport = \"http\"`");
        }
    }

    /// Checks that the files exist. No command makes them besides those for accounts, so that a wrong path does not
    /// begin an empty database.
    fn accounts_exist(&mut self, place: &AccountPlace) {
        let at = ["accounts", "store"];
        let at = if self.document.has(&at) { at.as_slice() } else { &["accounts"] };
        let help = "make it with the first user: `witgate user add NAME --accounts --role ROLE`";
        for path in [&place.store, &place.sealing_key(), &place.key_set(), &place.ended()] {
            match self.presence(at, path) {
                Presence::File | Presence::Unknown => {}
                Presence::NoFile => {
                    let message = format!("`{}` is not a file", path.display());
                    return self.error(at, message, "write the path of a file");
                }
                Presence::Nothing if *path == place.sealing_key() => {
                    let message = format!("there is no file `{}`, the key of the accounts", path.display());
                    return self.error(at, message, "restore it from a backup");
                }
                Presence::Nothing if *path != place.store => {
                    let message = format!("there is no file `{}`", path.display());
                    return self.error(at, message, "make it again: `witgate accounts repair`");
                }
                Presence::Nothing => {
                    return self.error(at, format!("there is no file `{}`", path.display()), help);
                }
            }
        }
    }

    fn scopes_are_words(&mut self, scopes: &BTreeMap<String, String>) {
        // RFC 6749, section 3.3.
        let is_token = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'))
        };
        for (scope, about) in scopes {
            let at = ["accounts", "scopes", scope];
            if scope == OFFLINE {
                let message = "`offline_access` is offered without a setting";
                self.error(&at, message, "leave it out");
            } else if !is_token(scope) {
                let message = format!("`{scope}` is not a scope");
                self.error(&at, message, "a scope has no blanks, quotes and backslashes");
            } else if about.trim().is_empty() {
                let message = format!("the scope `{scope}` has no description for people");
                self.error(&at, message, "say what a client may do with it, such as \"Read your notes\"");
            }
        }
    }

    fn second_factor_is_consistent(&mut self, written: &raw::Accounts) {
        let is_for_all = written.second_factor == Some(raw::SecondFactor::Required);
        if is_for_all && !written.second_factor_roles.is_empty() {
            let message = "everybody needs a second factor, so roles have no effect";
            let help = "leave the roles out, or write `second_factor = \"optional\"`";
            self.error(&["accounts", "second_factor_roles"], message, help);
        }
    }

    /// Checks that the path of an endpoint is none of the pages.
    pub(super) fn path_is_free(&mut self, at: &[&str], path: &str) {
        let is_below =
            |own: &str| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if OWN_PATHS.into_iter().chain([REGISTER]).any(is_below) {
            let message = format!("`{path}` is a path of `[accounts]`");
            self.error(at, message, "choose another path, such as `/mcp`");
        }
    }

    /// The issuer. Its string is compared byte by byte everywhere.
    fn accounts_issuer(&mut self, file: &raw::File, written: &raw::Accounts) -> Option<String> {
        let at = ["accounts", "issuer"];
        let at = if written.issuer.is_some() { at.as_slice() } else { &["accounts"] };
        let issuer = default_issuer(file, written);
        let issuer = self.origin(at, &issuer)?;
        let url = Url::parse(&issuer).ok()?;
        if !self.no_secrets_in_clear(at, &url) {
            return None;
        }
        if written.issuer.as_ref().is_some_and(|own| *own != issuer) {
            self.error(at, "an issuer ends without a slash", format!("write `{issuer}`"));
            return None;
        }
        Some(issuer)
    }
}

/// The users who need a second factor.
pub(super) fn second_factor(written: &raw::Accounts) -> SecondFactorRule {
    match written.second_factor {
        Some(raw::SecondFactor::Required) => SecondFactorRule::Everybody,
        None | Some(raw::SecondFactor::Optional) => {
            SecondFactorRule::Roles(written.second_factor_roles.clone())
        }
    }
}

/// The files of accounts, for commands as well.
pub(super) fn place(file: &raw::File, base: &Path) -> AccountPlace {
    let store = file.accounts.as_ref().and_then(|accounts| accounts.store.as_deref());
    let state = base.join(file.server.state.as_deref().unwrap_or(DEFAULT_STATE));
    AccountPlace::new(base.join(store.unwrap_or(DEFAULT_STORE)), &state)
}

/// The configured issuer, or else the origin of the public URL.
pub(super) fn default_issuer(file: &raw::File, written: &raw::Accounts) -> String {
    if let Some(issuer) = &written.issuer {
        return issuer.clone();
    }
    let public = file.server.resource.as_deref().and_then(|public| Url::parse(public).ok());
    let scheme = if file.server.tls.is_some() { "https" } else { "http" };
    public.map_or_else(
        || format!("{scheme}://{}", listen(&file.server)),
        |url| url.origin().ascii_serialization(),
    )
}
