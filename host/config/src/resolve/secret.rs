//! Reads secrets from their configured sources. Diagnostics never contain their values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::resolver::Resolver;
use crate::diagnostic::names_a_secret;
use crate::raw::{BasicLogin, SecretSettings, SecretSource, Text, UpstreamSecret, UpstreamText};
use crate::secrets::{MissingSecret, SOURCES, Secret, named};

/// The text before a value of HTTP Basic.
const BASIC: &str = "Basic ";

impl Resolver<'_> {
    /// The secret of `source`, the value of the setting `at`.
    pub(super) fn secret(&mut self, at: &[&str], source: &SecretSource) -> Option<SecretString> {
        if self.is_misshapen(at, source) {
            return None;
        }
        let read = self.sources.read(source, &self.base, &mut self.files);
        self.accept(at, read)
    }

    /// True if a source has the wrong type, which is already reported.
    fn is_misshapen(&self, at: &[&str], source: &SecretSource) -> bool {
        let is_written = |name: &str| self.document.has(&[at, &[name]].concat());
        named(source).is_empty() && SOURCES.iter().any(|name| is_written(name))
    }

    /// Checks that the identity of the store has one place.
    pub(super) fn store_identity(&mut self, written: &SecretSettings) {
        let at = ["secrets", "identity"];
        let has = |name: &&str| self.document.has(&[at.as_slice(), &[*name]].concat());
        let places = ["file", "credential", "keyring"].iter().filter(|name| has(name)).count();
        if written.identity.is_some() && places != 1 {
            let help = "write `identity = { file = \"PATH\" }`, `{ credential = \"NAME\" }` or `{ keyring = \"SERVICE/ACCOUNT\" }`";
            self.error(&at, "the identity has exactly one of `file`, `credential` and `keyring`", help);
        }
    }

    /// The secret of `source`, for a use that could not end with its lifetime.
    pub(super) fn endless_secret(&mut self, at: &[&str], source: &SecretSource) -> Option<SecretString> {
        self.is_endless(at, source).then(|| self.secret(at, source))?
    }

    /// Checks that a secret has no lifetime.
    pub(super) fn is_endless(&mut self, at: &[&str], source: &SecretSource) -> bool {
        let (message, is_endless) = match source {
            SecretSource { exec: Some(_), .. } => ("this secret cannot come from a program", false),
            SecretSource { keyring: Some(_), .. } => ("this secret cannot come from the keyring", false),
            _ => ("", true),
        };
        if !is_endless {
            let help = "use `file`, `env`, `credential` or `stored`; `exec` and `keyring` are for `[keys]`, policies and upstreams";
            self.error(at, message, help);
        }
        is_endless
    }

    /// The secret of `source`. None: there is no such secret, or it is reported.
    fn optional_secret(&mut self, at: &[&str], source: &SecretSource) -> Option<SecretString> {
        if self.is_misshapen(at, source) {
            return None;
        }
        match self.sources.read(source, &self.base, &mut self.files) {
            Err(missing) if missing.is_absent => None,
            read => self.accept(at, read),
        }
    }

    /// Reports what is wrong with a secret.
    pub(super) fn accept(
        &mut self,
        at: &[&str],
        read: Result<Secret, MissingSecret>,
    ) -> Option<SecretString> {
        match read {
            Ok(Secret { value, warning, lifetime, .. }) => {
                self.lifetimes.extend(lifetime);
                if let Some((message, help)) = warning {
                    self.warning(at, message, help);
                }
                Some(value)
            }
            Err(MissingSecret { message, help, cause, .. }) => {
                self.error_of(cause, at, message, help);
                None
            }
        }
    }

    /// The value of an environment variable or a header. It may be written in the file unless its name says that it is
    /// a secret. None: it is optional and absent, or there is an error.
    pub(super) fn text(&mut self, at: &[&str], text: &UpstreamText) -> Option<SecretString> {
        let name = at.last().copied().unwrap_or_default();
        match text {
            UpstreamText::Secret(secret) => self.upstream_secret(at, secret),
            UpstreamText::Plain(value) => self.plain(at, name, value),
        }
    }

    fn upstream_secret(&mut self, at: &[&str], written: &UpstreamSecret) -> Option<SecretString> {
        let source = written.source();
        if self.document.has(&[at, &["basic"]].concat()) {
            return self.basic(at, written);
        }
        let secret = match written.optional {
            true => self.optional_secret(at, &source)?,
            false => self.secret(at, &source)?,
        };
        Some(match &written.prefix {
            Some(prefix) => prefixed(prefix, &secret),
            None => secret,
        })
    }

    /// A value of HTTP Basic (RFC 7617).
    fn basic(&mut self, at: &[&str], written: &UpstreamSecret) -> Option<SecretString> {
        let mut others = SOURCES.iter().chain(&["prefix"]).copied();
        if let Some(other) = others.find(|other| self.document.has(&[at, &[*other]].concat())) {
            let message = format!("`basic` is the whole value, and this also names `{other}`");
            self.error(&[at, &[other]].concat(), message, "leave one of them");
            return None;
        }
        let BasicLogin { user, password } = written.basic.as_ref()?;
        let inner = |name| [at, &["basic", name]].concat();
        let user = self.basic_user(&inner("user"), user, written.optional);
        let password = match written.optional {
            true => self.optional_secret(&inner("password"), password),
            false => self.secret(&inner("password"), password),
        };
        let (user, password) = (user?, password?);
        if user.expose_secret().contains(':') {
            let message = "the user of HTTP Basic contains a colon, which would end it";
            self.error(&inner("user"), message, "use a user without a colon");
            return None;
        }
        let pair = Zeroizing::new(format!("{}:{}", user.expose_secret(), password.expose_secret()));
        Some(prefixed(BASIC, &STANDARD.encode(pair.as_bytes()).into()))
    }

    fn basic_user(&mut self, at: &[&str], user: &Text, is_optional: bool) -> Option<SecretString> {
        match user {
            Text::Plain(name) => Some(name.as_str().into()),
            Text::Secret(source) if is_optional => self.optional_secret(at, source),
            Text::Secret(source) => self.secret(at, source),
        }
    }

    fn plain(&mut self, at: &[&str], name: &str, value: &str) -> Option<SecretString> {
        if let Some((before, variable)) = reference(value) {
            let message = format!("`${{{variable}}}` is not replaced, and would be sent literally");
            self.error(at, message, right_form(name, before, variable));
            return None;
        }
        if names_a_secret(name) {
            let message = format!("a secret is in the file as plain text: `{}`", at.join("."));
            let help = format!(
                "put it into an environment variable and write `{name} = {{ env = \"NAME\" }}`, or \
                 into a file and write `{name} = {{ file = \"PATH\" }}`"
            );
            self.error(at, message, help);
            return None;
        }
        Some(value.into())
    }
}

/// Splits a text at `${NAME}`: the text before it, and the name. Other programs replace such references;
/// Witgate does not.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (before, rest) = text.split_once("${")?;
    let (name, _) = rest.split_once('}')?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some((before, name))
}

/// The advice for a text with a reference. The other text is quoted only if it cannot be a secret.
fn right_form(name: &str, before: &str, variable: &str) -> String {
    match before {
        "" => format!("write `{name} = {{ env = \"{variable}\" }}`"),
        "Bearer " | "Basic " | "Token " => {
            format!("write `{name} = {{ env = \"{variable}\", prefix = \"{before}\" }}`")
        }
        _ => {
            format!("write `{name} = {{ env = \"{variable}\", prefix = \"…\" }}`, with the text before it")
        }
    }
}

fn prefixed(prefix: &str, secret: &SecretString) -> SecretString {
    let secret = secret.expose_secret();
    // With its final size, because growing would leave copies in memory.
    let mut text = String::with_capacity(prefix.len() + secret.len());
    text.push_str(prefix);
    text.push_str(secret);
    text.into()
}
