//! `[upstreams.NAME.identity]`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;
use serde_json::Value;

use super::resolver::Resolver;
use crate::identity::{IdentityField, IdentitySettings, IdentityToken};
use crate::raw::{self, IdentityNames, TokenClaim, TokenSubject, UpstreamTransport};
use crate::{Mode, Pipeline, Policy, PolicyKind, Signing};

/// The default lifetime. A token is made for each request and used at once, but clocks differ.
const LIFETIME_S: u64 = 60;

/// The sections that an upstream's identity depends on.
pub(super) struct IdentityContext<'a> {
    pub(super) policies: &'a BTreeMap<String, Policy>,
    pub(super) signing: Option<&'a Signing>,
    /// True if there is a section `[signing]`, valid or not.
    pub(super) is_signing: bool,
}

impl Resolver<'_> {
    pub(super) fn identity(
        &mut self,
        name: &str,
        upstream: &raw::Upstream,
        pipeline: &Pipeline,
        around: &IdentityContext<'_>,
    ) -> IdentitySettings {
        let Some(written) = &upstream.identity else { return IdentitySettings::default() };
        let at = ["upstreams", name, "identity"];
        if matches!(upstream.own_tools, Some(raw::OwnToolChoice::InPlace(_))) || upstream.embedded.is_some() {
            let message = match upstream.embedded {
                Some(_) => {
                    "a service of the program itself finds the caller in the extensions of each request"
                }
                None => "the host's own tools need no identity",
            };
            self.error(&at, message, "leave `identity` out");
            return IdentitySettings::default();
        }
        if upstream.transport == Some(UpstreamTransport::Sse) {
            let message =
                "over HTTP+SSE an upstream gets no identity: a stream carries no headers for a call";
            self.error(&at, message, "leave `identity` out, or have the server speak Streamable HTTP");
            return IdentitySettings::default();
        }
        match upstream.command {
            Some(_) => self.for_process(&at, upstream, written),
            None => self.for_endpoint(&at, written),
        }
        let headers = self.identity_headers(&at, written, upstream);
        let env = self.identity_variables(&at, written, upstream);
        let token = self.identity_by_token(&at, written, upstream, around);
        let identity = IdentitySettings { headers, env, token };
        let names_none = named(written.headers.as_ref()).chain(named(written.env.as_ref())).next().is_none();
        if names_none && written.token.is_none() {
            let help = "name a field, such as `headers = { subject = \"X-Witgate-Subject\" }`";
            self.error(&at, "this names no field of the identity", help);
        }
        self.sources_apart(&at, written, pipeline, around.policies);
        identity
    }

    /// A shared process cannot get its caller from the environment, and a process of one caller lasts longer than a
    /// call.
    fn for_process(&mut self, at: &[&str], upstream: &raw::Upstream, written: &raw::IdentitySettings) {
        let below = |key| [at, &[key]].concat();
        for (key, is_there) in [("headers", written.headers.is_some()), ("token", written.token.is_some())] {
            if is_there {
                let message = format!("`{key}` is sent over HTTP, and this upstream is a child process");
                self.error(&below(key), message, "name environment variables under `env`");
            }
        }
        if upstream.shared == Some(true) {
            let message = "a shared process serves all callers, so its environment cannot name one of them";
            let help =
                "leave `shared` out, so that each caller has a process, or serve the upstream over HTTP";
            self.error(&below("env"), message, help);
        }
        for (field, _) in named(written.env.as_ref()) {
            if matches!(field, IdentityField::Roles | IdentityField::Scopes | IdentityField::Decision) {
                let message = format!(
                    "`{}` may differ between calls, but the environment of a process stays the same",
                    field.name()
                );
                let help = "leave it out; an upstream over HTTP can receive it with each call";
                self.error(&[&below("env")[..], &[field.name()]].concat(), message, help);
            }
        }
    }

    fn for_endpoint(&mut self, at: &[&str], written: &raw::IdentitySettings) {
        if written.env.is_some() {
            let message = "Witgate cannot set the environment of an HTTP endpoint";
            self.error(&[at, &["env"]].concat(), message, "name headers under `headers`");
        }
    }

    fn identity_headers(
        &mut self,
        at: &[&str],
        written: &raw::IdentitySettings,
        upstream: &raw::Upstream,
    ) -> Vec<(IdentityField, HeaderName)> {
        let mut taken = TakenNames::of(upstream);
        let mut resolved = Vec::new();
        for (field, name) in named(written.headers.as_ref()) {
            let at = [at, &["headers", field.name()]].concat();
            resolved.extend(self.identity_header(&at, name, &mut taken).map(|name| (field, name)));
        }
        resolved
    }

    fn identity_variables(
        &mut self,
        at: &[&str],
        written: &raw::IdentitySettings,
        upstream: &raw::Upstream,
    ) -> Vec<(IdentityField, String)> {
        let mut resolved: Vec<(IdentityField, String)> = Vec::new();
        for (field, name) in named(written.env.as_ref()) {
            let at = [at, &["env", field.name()]].concat();
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(plain) {
                let message = format!("`{name}` is not the name of an environment variable");
                self.error(&at, message, "use letters, digits and `_`, such as `WITGATE_SUBJECT`");
            } else if upstream.env.contains_key(name) || resolved.iter().any(|(_, other)| other == name) {
                let message = format!("the variable `{name}` is set twice");
                self.error(&at, message, "choose another name, such as `WITGATE_SUBJECT`");
            } else if means_something(name) {
                let message = format!("programs may interpret `{name}`, and callers could choose its value");
                self.error(&at, message, "choose a name that nobody else has, such as `WITGATE_SUBJECT`");
            } else {
                resolved.push((field, name.to_owned()));
            }
        }
        resolved
    }

    fn identity_by_token(
        &mut self,
        at: &[&str],
        written: &raw::IdentitySettings,
        upstream: &raw::Upstream,
        around: &IdentityContext<'_>,
    ) -> Option<IdentityToken> {
        let token = written.token.as_ref()?;
        let at = [at, &["token"]].concat();
        let mut taken = TakenNames::of(upstream);
        for (_, name) in named(written.headers.as_ref()) {
            taken.take(name);
        }
        let header = token.header.as_deref().unwrap_or("X-Witgate-Identity");
        let header_at = [&at[..], &["header"]].concat();
        let header = match header.eq_ignore_ascii_case(AUTHORIZATION.as_str()) {
            true if taken.take(header) => Some(AUTHORIZATION),
            _ => self.identity_header(&header_at, header, &mut taken),
        };
        if !around.is_signing {
            let help = "add `[signing]` with `key = { file = \"PATH\" }`";
            self.error(&at, "nothing says which key signs this token", help);
        }
        Some(IdentityToken {
            header: header?,
            audience: token.audience.clone().or_else(|| upstream.url.clone())?,
            lifetime: Duration::from_secs(token.lifetime_s.unwrap_or(LIFETIME_S)),
            sub: match token.sub {
                Some(TokenSubject::Principal) => IdentityField::Principal,
                Some(TokenSubject::Subject) | None => IdentityField::Subject,
            },
            claims: token.claims.iter().map(|&claim| claim.into()).collect(),
            signer: Arc::clone(&around.signing?.signer),
        })
    }

    /// Checks that only Witgate sets this header: no caller, protocol or operator, in any spelling.
    fn identity_header(&mut self, at: &[&str], name: &str, taken: &mut TakenNames) -> Option<HeaderName> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let parsed = name.parse::<HeaderName>().ok().filter(|_| name.chars().all(plain));
        let Some(parsed) = parsed else {
            let message = format!("`{name}` cannot be the name of this header");
            let help = "use only letters, digits and `-`: servers and proxies drop headers with other characters, or confuse them";
            self.error(at, message, help);
            return None;
        };
        if is_reserved(&alike(name)) {
            let message = format!("`{name}` is a header of HTTP or of the protocol");
            self.error(at, message, "choose a name that nobody else has, such as `X-Witgate-Subject`");
            return None;
        }
        if !taken.take(name) {
            let message =
                format!("the header `{name}` is set twice, in spellings that servers do not distinguish");
            self.error(at, message, "choose another name, such as `X-Witgate-Subject`");
            return None;
        }
        Some(parsed)
    }

    /// Two policies, or two issuers, can each have an `ada`. An upstream that gets only her name cannot distinguish
    /// them.
    fn sources_apart(
        &mut self,
        at: &[&str],
        written: &raw::IdentitySettings,
        pipeline: &Pipeline,
        policies: &BTreeMap<String, Policy>,
    ) {
        let authenticators: Vec<_> = pipeline
            .authenticate
            .iter()
            .filter_map(|name| policies.get(name))
            .filter(|policy| policy.mode == Mode::Enforce)
            .collect();
        let several_policies = authenticators.len() > 1;
        let several_issuers = authenticators.iter().any(|policy| takes_several_issuers(policy));
        for (place, names) in [("headers", &written.headers), ("env", &written.env)] {
            let Some(names) =
                names.as_ref().filter(|names| names.subject.is_some() && names.principal.is_none())
            else {
                continue;
            };
            let lacking =
                match (several_policies && names.policy.is_none(), several_issuers && names.issuer.is_none())
                {
                    (true, true) => "`policy` and `issuer`",
                    (true, false) => "`policy`",
                    (false, true) => "`issuer`",
                    (false, false) => continue,
                };
            let message = "several policies or issuers may identify callers here, and two of them may use the same subject";
            let help = format!("name {lacking} as well, or `principal` in place of `subject`");
            self.error(&[at, &[place, "subject"]].concat(), message, help);
        }
        let is_open = written.token.as_ref().is_some_and(|token| token.sub.is_none());
        if is_open && (several_policies || several_issuers) {
            let message = "several policies or issuers may identify callers here, and two of them may use the same subject";
            let help = "write `sub = \"principal\"`, or `sub = \"subject\"` where the upstream checks `policy` and `issuer` as well";
            self.error(&[at, &["token"]].concat(), message, help);
        }
    }
}

/// True unless all callers of the policy have one issuer, or none. The issuers of a custom component are not known.
fn takes_several_issuers(policy: &Policy) -> bool {
    let is_one = |setting: &str| match policy.config.get(setting) {
        Some(Value::String(issuer)) => !issuer.contains('*'),
        Some(Value::Array(issuers)) => {
            matches!(issuers.as_slice(), [Value::String(issuer)] if !issuer.contains('*'))
        }
        _ => false,
    };
    match policy.kind {
        PolicyKind::ApiKey | PolicyKind::Basic | PolicyKind::Rbac => false,
        PolicyKind::Jwt | PolicyKind::Introspection => !is_one("issuer"),
        PolicyKind::ClientCertificate => !is_one("issuers"),
        PolicyKind::Custom => true,
    }
}

/// The names of used headers, in the form of servers.
struct TakenNames(Vec<String>);

impl TakenNames {
    fn of(upstream: &raw::Upstream) -> Self {
        Self(upstream.headers.keys().map(|name| alike(name)).collect())
    }

    /// False: the name is used already.
    fn take(&mut self, name: &str) -> bool {
        let name = alike(name);
        let is_free = !self.0.contains(&name);
        self.0.push(name);
        is_free
    }
}

/// A header's name in the form of a CGI variable (RFC 3875, section 4.1.18), which WSGI and Rack use as well. Headers
/// with the same form are the same header there.
fn alike(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// True for variables that determine the code that a program runs. A caller's name must not become the value of one.
fn means_something(variable: &str) -> bool {
    const NAMES: [&str; 10] = [
        "BASH_ENV",
        "ENV",
        "HOME",
        "IFS",
        "NODE_OPTIONS",
        "PATH",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "SHELL",
        "TMPDIR",
    ];
    NAMES.contains(&variable) || variable.starts_with("LD_") || variable.starts_with("DYLD_")
}

/// True for headers that callers may send, of the protocol, or with a meaning for proxies.
fn is_reserved(alike: &str) -> bool {
    const RESERVED: [&str; 22] = [
        "accept",
        "authorization",
        "baggage",
        "connection",
        "cookie",
        "date",
        "dpop",
        "expect",
        "host",
        "keep_alive",
        "last_event_id",
        "origin",
        // `HTTP_PROXY` in a CGI program.
        "proxy",
        "range",
        "referer",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer_encoding",
        "upgrade",
        "via",
    ];
    const PREFIXES: [&str; 7] = ["mcp", "content_", "accept_", "access_control_", "proxy_", "sec_", "if_"];
    RESERVED.contains(&alike) || PREFIXES.iter().any(|prefix| alike.starts_with(prefix))
}

/// The configured fields, in a fixed order.
fn named(names: Option<&IdentityNames>) -> impl Iterator<Item = (IdentityField, &str)> {
    let all = names.map(|names| {
        [
            (IdentityField::Kind, &names.kind),
            (IdentityField::Principal, &names.principal),
            (IdentityField::Subject, &names.subject),
            (IdentityField::Issuer, &names.issuer),
            (IdentityField::Policy, &names.policy),
            (IdentityField::Roles, &names.roles),
            (IdentityField::Scopes, &names.scopes),
            (IdentityField::Decision, &names.decision),
        ]
    });
    all.into_iter().flatten().filter_map(|(field, name)| Some((field, name.as_deref()?)))
}

impl From<TokenClaim> for IdentityField {
    fn from(claim: TokenClaim) -> Self {
        match claim {
            TokenClaim::Roles => Self::Roles,
            TokenClaim::Scopes => Self::Scopes,
            TokenClaim::Decision => Self::Decision,
        }
    }
}
