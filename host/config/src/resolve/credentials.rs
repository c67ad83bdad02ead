//! `[credentials]`, and their use by upstreams.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use url::Url;

use super::resolver::Resolver;
use super::upstreams::own_header;
use crate::Signing;
use crate::credentials::{
    CredentialSettings, EqualSecret, OutboundSource, Retrieval, SecretPlace, UpstreamCredentials,
};
use crate::identity::IdentitySettings;
use crate::raw::{self, CredentialTable, OptionalSecret, OptionalText, OutboundKind, UpstreamTransport};
use crate::shape::nearest;

pub(super) type CredentialsByName = BTreeMap<String, Arc<CredentialSettings>>;

impl Resolver<'_> {
    pub(super) fn credentials(&mut self, file: &raw::File, signing: Option<&Signing>) -> CredentialsByName {
        let resolve = |(name, table): (&String, &CredentialTable)| {
            let credential = self.outbound_credential(name, table, signing)?;
            Some((name.clone(), Arc::new(credential)))
        };
        let all = file.credentials.iter().filter_map(resolve).collect();
        self.credentials_unused(file);
        self.token_files_apart(&all);
        all
    }

    fn outbound_credential(
        &mut self,
        name: &str,
        table: &CredentialTable,
        signing: Option<&Signing>,
    ) -> Option<CredentialSettings> {
        self.of_kind(name, table);
        let header = self.credential_header(name, table);
        let source = self.outbound_source(name, table, signing);
        let (header, source) = (header?, source?);
        let prefix = match (&table.prefix, table.kind) {
            (_, OutboundKind::Basic) => "Basic ",
            (Some(prefix), _) => prefix,
            (None, _) if header == AUTHORIZATION => "Bearer ",
            (None, _) => "",
        };
        let prefix = prefix.to_owned();
        if let Some(place) = source.missing() {
            let message = format!("the credential `{name}` is missing: {}", absence(place));
            let help = "calls that need it are denied with `credential-missing` until then";
            self.warning(&["credentials", name], message, help);
        }
        Some(CredentialSettings { name: name.into(), header, prefix, source })
    }

    /// Reports settings of other kinds.
    fn of_kind(&mut self, name: &str, table: &CredentialTable) {
        let fit: &[&str] = match table.kind {
            OutboundKind::Static => &["value", "header", "prefix"],
            OutboundKind::Basic => &["user", "password", "header"],
            OutboundKind::ClientCredentials | OutboundKind::Exchange => &TOKEN_SETTINGS,
            OutboundKind::Oauth => &GRANT_SETTINGS,
            OutboundKind::Signed => &["audience", "subject", "lifetime_s", "header", "prefix"],
        };
        for setting in self.document.keys(&["credentials", name]) {
            if setting != "kind" && !fit.contains(&&*setting) && SETTINGS.contains(&&*setting) {
                let message = format!("`{setting}` has no effect for a credential of this kind");
                self.error(&["credentials", name, &setting], message, "leave it out");
            }
        }
    }

    fn credential_header(&mut self, name: &str, table: &CredentialTable) -> Option<HeaderName> {
        if let Some(prefix) = &table.prefix
            && HeaderValue::from_str(prefix).is_err()
        {
            let message = "this text contains characters that a header cannot have";
            self.error(&["credentials", name, "prefix"], message, "write one such as `\"Bearer \"`");
        }
        let Some(written) = &table.header else { return Some(AUTHORIZATION) };
        let at = ["credentials", name, "header"];
        match written.parse::<HeaderName>() {
            Ok(header) if !own_header(&header) && !header.as_str().starts_with("mcp-") => Some(header),
            Ok(_) => {
                self.error(&at, format!("Witgate sets this header itself: `{written}`"), "name another one");
                None
            }
            Err(_) => {
                self.error(&at, format!("this is not the name of a header: `{written}`"), "correct it");
                None
            }
        }
    }

    fn outbound_source(
        &mut self,
        name: &str,
        table: &CredentialTable,
        signing: Option<&Signing>,
    ) -> Option<OutboundSource> {
        match table.kind {
            OutboundKind::Static => {
                let value = self.needed(name, "value", table.value.as_ref())?;
                let value = self.retrieve(&["credentials", name, "value"], value)?;
                self.fits_a_header(&["credentials", name, "value"], &value)?;
                Some(OutboundSource::Static(value))
            }
            OutboundKind::Basic => {
                let user = self.needed(name, "user", table.user.as_ref());
                let user = user.and_then(|user| self.retrieve_text(&["credentials", name, "user"], user));
                let password = self.needed(name, "password", table.password.as_ref());
                let at = ["credentials", name, "password"];
                let password = password.and_then(|password| self.retrieve(&at, password));
                let (user, password) = (user?, password?);
                self.fit_basic(name, &user, &password)?;
                Some(OutboundSource::Basic { user, password })
            }
            OutboundKind::ClientCredentials => {
                self.token_settings(name, table).map(OutboundSource::ClientCredentials)
            }
            OutboundKind::Exchange => self.token_settings(name, table).map(OutboundSource::Exchange),
            OutboundKind::Oauth => self.grant(name, table).map(Box::new).map(OutboundSource::Grant),
            OutboundKind::Signed => self.signed_token(name, table, signing),
        }
    }

    /// A setting that the kind requires.
    pub(super) fn needed<'t, T>(
        &mut self,
        name: &str,
        setting: &str,
        written: Option<&'t T>,
    ) -> Option<&'t T> {
        if written.is_none() && !self.document.has(&["credentials", name, setting]) {
            let message = format!("the credential `{name}` has no `{setting}`");
            let help = match setting {
                "value" | "user" | "password" => format!("add `{setting} = {{ env = \"NAME\" }}`"),
                _ => format!("add `{setting} = \"…\"`"),
            };
            self.error(&["credentials", name], message, help);
        }
        written
    }

    /// The secret of `source`, which may be missing if it is optional.
    pub(super) fn retrieve(&mut self, at: &[&str], source: &OptionalSecret) -> Option<Retrieval> {
        if source.optional == Some(true)
            && let Some(place) = self.absent(source)
        {
            return Some(Retrieval::Missing(place));
        }
        let secret = self.secret(at, &source.source())?;
        Some(Retrieval::Secret(EqualSecret(secret)))
    }

    fn retrieve_text(&mut self, at: &[&str], text: &OptionalText) -> Option<Retrieval> {
        match text {
            OptionalText::Plain(text) => Some(Retrieval::Secret(EqualSecret(text.as_str().into()))),
            OptionalText::Secret(source) => self.retrieve(at, source),
        }
    }

    /// The place of a secret that does not exist. None: it exists, or an error prevents to say so.
    fn absent(&mut self, source: &OptionalSecret) -> Option<SecretPlace> {
        let read = self.sources.read(&source.source(), &self.base, &mut self.files);
        let is_absent = read.is_err_and(|missing| missing.is_absent);
        is_absent.then(|| match source {
            OptionalSecret { env: Some(name), .. } => SecretPlace::Variable(name.clone()),
            OptionalSecret { stored: Some(name), .. } => SecretPlace::Store(name.clone()),
            _ => SecretPlace::File,
        })
    }

    fn fits_a_header(&mut self, at: &[&str], value: &Retrieval) -> Option<()> {
        match value {
            Retrieval::Secret(secret) if HeaderValue::from_str(secret.expose()).is_err() => {
                let message = "this secret contains characters that a header cannot have";
                self.error(at, message, "look for line breaks and control characters");
                None
            }
            _ => Some(()),
        }
    }

    /// RFC 7617, section 2: a user has no colon, and neither part has control characters.
    fn fit_basic(&mut self, name: &str, user: &Retrieval, password: &Retrieval) -> Option<()> {
        let has = |value: &Retrieval, refused: &dyn Fn(char) -> bool| match value {
            Retrieval::Secret(secret) => secret.expose().contains(refused),
            Retrieval::Missing(_) => false,
        };
        if has(user, &|c| c == ':' || c.is_control()) {
            let message = "a user of Basic authentication has no colon and no control characters";
            self.error(&["credentials", name, "user"], message, "correct the name");
            return None;
        }
        if has(password, &|c| c.is_control()) {
            let message = "a password of Basic authentication has no control characters";
            self.error(&["credentials", name, "password"], message, "look for line breaks");
            return None;
        }
        Some(())
    }

    fn credentials_unused(&mut self, file: &raw::File) {
        let logins = file.accounts.iter().flat_map(|accounts| accounts.login.values());
        let of_logins = logins.map(|login| &login.credential);
        let used: BTreeSet<&String> = file.upstreams.values().flat_map(names_in).chain(of_logins).collect();
        for name in file.credentials.keys().filter(|name| !used.contains(name)) {
            let message = format!("the credential `{name}` is used nowhere");
            let help = "write `credential = \"NAME\"` at an upstream, or remove it";
            self.warning(&["credentials", name], message, help);
        }
    }

    /// The credentials of the upstream `name`, which sends `identity`.
    pub(super) fn upstream_credentials(
        &mut self,
        name: &str,
        written: &raw::Upstream,
        all: &CredentialsByName,
        identity: &IdentitySettings,
    ) -> UpstreamCredentials {
        let own = written.credential.as_ref().and_then(|credential| {
            let at = ["upstreams", name, "credential"];
            self.is_over_http(name, written)?;
            let own = self.credential_named(&at, credential, all)?;
            self.is_only_one_in_header(&at, &own.header, written, identity)?;
            self.knows_eras(&at, &own, written)?;
            // An invalid URL is reported elsewhere.
            let url = written.url.as_deref().and_then(|url| Url::parse(url).ok());
            let at = ["upstreams", name, "url"];
            url.is_none_or(|url| self.no_secrets_in_clear(&at, &url)).then_some(own)
        });
        let mut needs = BTreeMap::new();
        for (tool, credentials) in &written.needs {
            let of_tool = credentials.iter().enumerate().filter_map(|(index, credential)| {
                let at = ["upstreams", name, "needs", tool, &index.to_string()];
                let needed = self.credential_named(&at, credential, all)?;
                self.is_of_all_callers(&at, &needed).then_some(needed)
            });
            needs.insert(tool.clone(), of_tool.collect());
        }
        if !needs.is_empty() && written.command.is_none() && written.url.is_none() {
            let message = "`needs` has no effect for this upstream, which has no credentials";
            self.error(&["upstreams", name, "needs"], message, "leave it out");
        }
        let of_children = self.child_credentials(name, written, all, identity);
        UpstreamCredentials { own, needs, of_children, names: names_in(written).cloned().collect() }
    }

    /// A tool or a process reads its credential where nobody knows the caller.
    pub(super) fn is_of_all_callers(&mut self, at: &[&str], needed: &CredentialSettings) -> bool {
        let is_of_principals = needed.source.is_of_principals();
        if is_of_principals {
            let message = "each caller has an account of their own for this credential, and only requests to a `url` can carry it";
            let help = "write it into `credential` of an upstream with a `url`, or set `per = \"shared\"`";
            self.error(at, message, help);
        }
        !is_of_principals
    }

    /// Witgate asks a server for its eras in its own name, for which there is no token of a caller.
    fn knows_eras(&mut self, at: &[&str], own: &CredentialSettings, written: &raw::Upstream) -> Option<()> {
        let is_of_callers =
            matches!(own.source, OutboundSource::Exchange(_)) || own.source.is_of_principals();
        if is_of_callers && written.eras.is_none() {
            let message =
                "this credential is that of each caller, so Witgate cannot ask the server for its eras";
            self.error(at, message, "add `eras`, with `\"stateful\"`, `\"stateless\"`, or both");
            return None;
        }
        Some(())
    }

    fn is_over_http(&mut self, name: &str, written: &raw::Upstream) -> Option<()> {
        let at = ["upstreams", name, "credential"];
        let (message, help) = match written {
            raw::Upstream { transport: Some(UpstreamTransport::Sse), .. } => (
                "`credential` has no effect for HTTP+SSE",
                "write it into `headers`, or have the server speak Streamable HTTP",
            ),
            raw::Upstream { url: Some(_), .. } => return Some(()),
            raw::Upstream { command: Some(_), .. } => (
                "`credential` is sent over HTTP, and this upstream is a child process",
                "write it into `apis`, `token_files` or `env`",
            ),
            _ => ("`credential` has no effect for this upstream", "leave it out"),
        };
        self.error(&at, message, help);
        None
    }

    pub(super) fn credential_named(
        &mut self,
        at: &[&str],
        name: &str,
        all: &CredentialsByName,
    ) -> Option<Arc<CredentialSettings>> {
        if let Some(found) = all.get(name) {
            return Some(Arc::clone(found));
        }
        // An invalid one is already reported.
        if !self.document.has(&["credentials", name]) {
            let help = match nearest(name, all.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("add `[credentials.{name}]`"),
            };
            self.error(at, format!("there is no credential `{name}`"), help);
        }
        None
    }

    /// Refuses a second value for the header of the credential.
    fn is_only_one_in_header(
        &mut self,
        at: &[&str],
        header: &HeaderName,
        written: &raw::Upstream,
        identity: &IdentitySettings,
    ) -> Option<()> {
        let is_it = |name: &str| name.eq_ignore_ascii_case(header.as_str());
        let place = if written.headers.keys().any(|name| is_it(name)) {
            "`headers`"
        } else if identity.token.as_ref().is_some_and(|token| token.header == header)
            || identity.headers.iter().any(|(_, name)| name == header)
        {
            "`identity`"
        } else {
            return Some(());
        };
        let message = format!("the header `{header}` has this credential and an entry in {place}");
        self.error(at, message, "leave one of them out, or give one another header");
        None
    }
}

/// The names of credentials that an upstream mentions.
fn names_in(upstream: &raw::Upstream) -> impl Iterator<Item = &String> {
    let of_apis = upstream.apis.values().map(|api| &api.credential);
    let of_children = of_apis.chain(upstream.token_files.values());
    upstream.credential.iter().chain(upstream.needs.values().flatten()).chain(of_children)
}

/// The settings that some kind has. Others are unknown keys, which are reported as such.
const SETTINGS: [&str; 27] = [
    "store",
    "token_file",
    "account_url",
    "only_for_calls",
    "preset",
    "tenant",
    "authorize_url",
    "params",
    "redirect_uri",
    "per",
    "value",
    "user",
    "password",
    "header",
    "prefix",
    "token_url",
    "issuer",
    "client_id",
    "client_secret",
    "client_key",
    "client_auth",
    "scopes",
    "audience",
    "resource",
    "refresh_before_s",
    "subject",
    "lifetime_s",
];

/// The settings of the grant of a person.
const GRANT_SETTINGS: [&str; 21] = [
    "store",
    "token_file",
    "account_url",
    "only_for_calls",
    "header",
    "prefix",
    "preset",
    "tenant",
    "authorize_url",
    "token_url",
    "issuer",
    "params",
    "redirect_uri",
    "per",
    "client_id",
    "client_secret",
    "client_key",
    "client_auth",
    "scopes",
    "resource",
    "refresh_before_s",
];

/// The settings of the kinds with an authorization server.
const TOKEN_SETTINGS: [&str; 12] = [
    "header",
    "prefix",
    "token_url",
    "issuer",
    "client_id",
    "client_secret",
    "client_key",
    "client_auth",
    "scopes",
    "audience",
    "resource",
    "refresh_before_s",
];

fn absence(place: &SecretPlace) -> String {
    match place {
        SecretPlace::Variable(name) => format!("the environment variable `{name}` is not set or is empty"),
        SecretPlace::File => "its file does not exist".to_owned(),
        SecretPlace::Store(name) => format!("the store of secrets has no `{name}`"),
    }
}
