//! `[credentials.NAME]` of the kind `oauth`: presets of providers, and their endpoints.

use std::collections::{BTreeMap, BTreeSet};

use url::{Host, Url};

use super::resolver::Resolver;
use super::tokens::refresh_before;
use crate::Upstream;
use crate::credentials::{
    ClientProof, ConnectSettings, GrantSettings, OutboundSource, TokenSettings, UpstreamCredentials,
    callback_path,
};
use crate::raw::{self, ClientAuthForm, CredentialTable, GrantOwner, ProviderPreset};

/// The points in which a provider differs from others.
struct Provider {
    authorize_url: String,
    token_url: String,
    /// The issuer, if it is known.
    issuer: Option<String>,
    /// The URL that tells the name of an account, if an ID token does not.
    account_url: Option<String>,
    params: &'static [(&'static str, &'static str)],
    /// A scope without which there is no refresh token.
    scope: Option<&'static str>,
    names_scopes: bool,
    is_endless: bool,
}

impl Resolver<'_> {
    pub(super) fn grant(&mut self, name: &str, table: &CredentialTable) -> Option<GrantSettings> {
        let preset = self.needed(name, "preset", table.preset.as_ref());
        let client_id = self.needed(name, "client_id", table.client_id.as_ref());
        let provider = preset.and_then(|preset| self.provider(name, *preset, table));
        self.scopes_of_tokens(name, &table.scopes);
        // Entra permits any port only with this name.
        let host = if preset == Some(&ProviderPreset::Entra) { "localhost" } else { "127.0.0.1" };
        let own_redirect = table.redirect_uri.as_deref().filter(|_| table.per != Some(GrantOwner::Principal));
        let redirect_uri = own_redirect.map_or_else(|| format!("http://{host}/callback"), str::to_owned);
        let redirect_uri = self.loopback(name, &redirect_uri)?;
        let connect = match table.per {
            Some(GrantOwner::Principal) => Some(self.connecting(name, table)?),
            Some(GrantOwner::Shared) | None => {
                self.is_of_principals_only(name, table);
                None
            }
        };
        let (provider, client_id) = (provider?, client_id?);
        let authorize_url =
            self.url_of_secrets(&["credentials", name, "authorize_url"], &provider.authorize_url);
        let token_url = self.url_of_secrets(&["credentials", name, "token_url"], &provider.token_url);
        let account_url = match &provider.account_url {
            Some(url) => Some(self.url_of_secrets(&["credentials", name, "account_url"], url)?),
            None => None,
        };
        let audience = provider.issuer.clone().unwrap_or_else(|| provider.token_url.clone());
        let proof = self.grant_proof(name, table, &audience)?;
        let fixed = provider.params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let own = table.params.iter().map(|(name, value)| (name.clone(), value.clone()));
        let wanted = provider.scope.map(str::to_owned).filter(|scope| !table.scopes.contains(scope));
        let token = TokenSettings {
            token_url: token_url?,
            issuer: audience.into(),
            client_id: client_id.as_str().into(),
            proof,
            scopes: table.scopes.iter().cloned().chain(wanted).collect(),
            audience: None,
            resource: table.resource.clone(),
            refresh_before: refresh_before(table),
        };
        Some(GrantSettings {
            authorize_url: authorize_url?,
            token,
            issuer: provider.issuer,
            params: fixed.chain(own).collect(),
            redirect_uri,
            account_url,
            connect,
            names_scopes: provider.names_scopes,
            is_endless: provider.is_endless,
            state: self.state.clone(),
            file: self.file_of_tokens(name, table)?,
        })
    }

    fn provider(&mut self, name: &str, preset: ProviderPreset, table: &CredentialTable) -> Option<Provider> {
        if preset != ProviderPreset::Custom {
            let own = ["authorize_url", "token_url", "account_url", "issuer", "resource"];
            for setting in own.iter().filter(|setting| self.document.has(&["credentials", name, setting])) {
                let message = format!("`{setting}` has no effect beside a preset");
                self.error(
                    &["credentials", name, setting],
                    message,
                    "leave it out, or write `preset = \"custom\"`",
                );
            }
        }
        if preset != ProviderPreset::Entra && table.tenant.is_some() {
            let message = "`tenant` is of the preset `entra`";
            self.error(&["credentials", name, "tenant"], message, "leave it out");
        }
        Some(match preset {
            ProviderPreset::Github => Provider {
                authorize_url: "https://github.com/login/oauth/authorize".to_owned(),
                token_url: "https://github.com/login/oauth/access_token".to_owned(),
                issuer: None,
                account_url: Some("https://api.github.com/user".to_owned()),
                params: &[],
                scope: None,
                names_scopes: false,
                is_endless: true,
            },
            // Without both parameters, there is no refresh token at a second login.
            ProviderPreset::Google => Provider {
                authorize_url: "https://accounts.google.com/o/oauth2/v2/auth".to_owned(),
                token_url: "https://oauth2.googleapis.com/token".to_owned(),
                issuer: Some("https://accounts.google.com".to_owned()),
                account_url: None,
                params: &[("access_type", "offline"), ("prompt", "consent")],
                scope: None,
                names_scopes: false,
                is_endless: false,
            },
            ProviderPreset::Entra => {
                let tenant = self.needed(name, "tenant", table.tenant.as_ref())?;
                let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
                if tenant.is_empty() || !tenant.chars().all(is_plain) {
                    let message = format!("`{tenant}` is not the id or the domain of a tenant");
                    self.error(
                        &["credentials", name, "tenant"],
                        message,
                        "copy it from the Entra admin center",
                    );
                    return None;
                }
                let place = format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0");
                Provider {
                    authorize_url: format!("{place}/authorize"),
                    token_url: format!("{place}/token"),
                    issuer: None,
                    account_url: None,
                    params: &[],
                    scope: Some("offline_access"),
                    names_scopes: true,
                    is_endless: false,
                }
            }
            ProviderPreset::Custom => Provider {
                authorize_url: self.needed(name, "authorize_url", table.authorize_url.as_ref())?.clone(),
                token_url: self.needed(name, "token_url", table.token_url.as_ref())?.clone(),
                issuer: table.issuer.clone(),
                account_url: table.account_url.clone(),
                params: &[],
                scope: None,
                names_scopes: false,
                is_endless: false,
            },
        })
    }

    /// GitHub reads a client's secret in the body only, and Google and Entra accept it there.
    fn grant_proof(&mut self, name: &str, table: &CredentialTable, audience: &str) -> Option<ClientProof> {
        if table.client_secret.is_none() && table.client_key.is_none() {
            let written = ["client_secret", "client_key"];
            let is_wrong = written.iter().any(|setting| self.document.has(&["credentials", name, setting]));
            return (!is_wrong).then_some(ClientProof::None);
        }
        let proof = self.client_proof(name, table, audience)?;
        Some(match (proof, table.client_auth, table.preset) {
            (proof, _, Some(ProviderPreset::Custom)) => proof,
            (ClientProof::Basic(secret), None | Some(ClientAuthForm::Post), _) => ClientProof::Post(secret),
            (proof, ..) => proof,
        })
    }

    fn is_of_principals_only(&mut self, name: &str, table: &CredentialTable) {
        if table.only_for_calls.is_some() {
            let message = "`only_for_calls` has no effect unless each caller has an account of their own";
            self.error(
                &["credentials", name, "only_for_calls"],
                message,
                "leave it out, or set `per = \"principal\"`",
            );
        }
    }

    /// Callers connect at Witgate itself, so the provider leads back to it.
    fn connecting(&mut self, name: &str, table: &CredentialTable) -> Option<ConnectSettings> {
        let only_for_calls = table.only_for_calls.unwrap_or(false);
        let Some(url) = &table.redirect_uri else {
            return Some(ConnectSettings { redirect_uri: None, only_for_calls });
        };
        let at = ["credentials", name, "redirect_uri"];
        let parsed = self.url(&at, url)?;
        let path = callback_path(name);
        if !parsed.path().ends_with(&path) || parsed.query().is_some() {
            let message = format!("`{url}` does not end with `{path}`");
            let help =
                format!("write one such as `https://mcp.example.com{path}`, and register it at the provider");
            self.error(&at, message, help);
            return None;
        }
        if parsed.scheme() != "https" && !is_loopback(&parsed) {
            let message = "the answer of the provider would cross the network in clear: this is plain HTTP";
            self.error(&at, message, "write an `https://` URL, or one of this machine");
            return None;
        }
        Some(ConnectSettings { redirect_uri: Some(parsed), only_for_calls })
    }

    /// Callers show their credentials to the page where they connect, at the origin of the upstream's resource.
    pub(super) fn connects_safely(
        &mut self,
        file: &raw::File,
        upstream: &Upstream,
        credentials: &UpstreamCredentials,
    ) {
        let connect = match credentials.own.as_deref().map(|own| &own.source) {
            Some(OutboundSource::Grant(grant)) => grant.connect.as_ref(),
            _ => None,
        };
        let is_over_stdio = matches!(file.server.transport, Some(raw::Transport::Stdio));
        let Some(ConnectSettings { redirect_uri, .. }) = connect else { return };
        if is_over_stdio {
            let is_here = |url: &Url| is_loopback(url) && url.scheme() == "http" && url.port() != Some(0);
            if let (Some(url), Some(own)) =
                (redirect_uri.as_ref().filter(|url| !is_here(url)), credentials.own.as_deref())
            {
                let message =
                    format!("over stdio, callers connect at a port of this machine, and `{url}` is none");
                let help = format!("write one such as `http://localhost:8788{}`", callback_path(&own.name));
                self.error(&["credentials", &own.name, "redirect_uri"], message, help);
            }
            return;
        }
        if redirect_uri.is_some() {
            return;
        }
        let Ok(resource) = Url::parse(&upstream.resource) else { return };
        if resource.scheme() != "https" && !is_loopback(&resource) {
            let own = ["upstreams", upstream.name.as_str(), "resource"];
            let at: &[&str] = match (self.document.has(&own), self.document.has(&["server", "resource"])) {
                (true, _) => &own,
                (false, true) => &["server", "resource"],
                (false, false) => &["upstreams", upstream.name.as_str(), "credential"],
            };
            let origin = resource.origin().ascii_serialization();
            let message = format!("callers would connect their accounts over plain HTTP, at `{origin}`");
            self.error(at, message, "set `resource` to the public `https://` URL");
        }
    }

    /// The page of a credential judges callers with the policies of one upstream.
    pub(super) fn connect_the_same_callers(&mut self, upstreams: &[Upstream]) {
        let mut users: BTreeMap<&str, &Upstream> = BTreeMap::new();
        for upstream in upstreams {
            let Some(own) = upstream.credentials.own.as_deref() else { continue };
            if !own.source.is_of_principals() {
                continue;
            }
            let first = *users.entry(&own.name).or_insert(upstream);
            if authenticators(first) != authenticators(upstream) {
                let message = format!(
                    "callers of `{}` and of `{}` connect their accounts at one page, and other policies authenticate them",
                    upstream.name, first.name
                );
                let help = "write a credential of its own for it, or the same `authenticate` for both";
                self.error(&["upstreams", &upstream.name, "credential"], message, help);
            }
        }
    }

    /// A login from the command line ends on this machine.
    fn loopback(&mut self, name: &str, url: &str) -> Option<Url> {
        let at = ["credentials", name, "redirect_uri"];
        let parsed = self.url(&at, url)?;
        if is_loopback(&parsed) && parsed.scheme() == "http" && parsed.query().is_none() {
            return Some(parsed);
        }
        let help = "write one such as `http://localhost:8080/callback`, and register it at the provider";
        self.error(&at, format!("`{url}` does not lead to this machine over http"), help);
        None
    }
}

/// The policies that authenticate the callers of an upstream, in any order.
fn authenticators(upstream: &Upstream) -> BTreeSet<&str> {
    upstream.pipeline.authenticate.iter().map(String::as_str).collect()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
