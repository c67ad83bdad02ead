//! Reads secrets from their configured sources. Diagnostics never contain their values.

use std::io;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::resolver::Resolver;
use crate::diagnostic::names_a_secret;
use crate::environment::Environment;
use crate::raw::{PrefixedSource, SecretSource, UpstreamText};
use crate::shape::nearest;
use witgate_base::cause::Cause;

/// The reason why a secret is missing, and the advice.
pub(super) struct MissingSecret {
    pub(super) message: String,
    pub(super) help: String,
    pub(super) cause: Cause,
}

impl MissingSecret {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into(), cause: Cause::Content }
    }
}

impl Resolver<'_> {
    /// The secret of `source`, the value of the setting `at`.
    pub(super) fn secret(&mut self, at: &[&str], source: &SecretSource) -> Option<SecretString> {
        if let Some(file) = &source.file {
            let path = self.path(file);
            self.files.note(&path);
        }
        match read_secret(source, self.environment, |file| self.path(file)) {
            Ok(secret) => Some(secret),
            Err(MissingSecret { message, help, cause }) => {
                self.error_of(cause, at, message, help);
                None
            }
        }
    }

    /// The value of an environment variable or a header. It may be written in the file unless its name says that it is
    /// a secret.
    pub(super) fn text(&mut self, at: &[&str], text: &UpstreamText) -> Option<SecretString> {
        let name = at.last().copied().unwrap_or_default();
        match text {
            UpstreamText::Secret(PrefixedSource { env, file, prefix }) => {
                let secret = self.secret(at, &SecretSource { env: env.clone(), file: file.clone() })?;
                match prefix {
                    Some(prefix) => Some(prefixed(prefix, &secret)),
                    None => Some(secret),
                }
            }
            UpstreamText::Plain(value) => self.plain(at, name, value),
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

/// The secret in the text of a file, without the mark (U+FEFF) and the line break that editors add.
pub fn in_file(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text).trim_end_matches(['\r', '\n'])
}

/// Reads a secret.
pub(super) fn read_secret(
    source: &SecretSource,
    environment: &Environment,
    path: impl Fn(&str) -> PathBuf,
) -> Result<SecretString, MissingSecret> {
    match (&source.env, &source.file) {
        (Some(name), None) => from_variable(name, environment),
        (None, Some(file)) => from_file(path(file)),
        (Some(_), Some(_)) => Err(MissingSecret::new(
            "a secret has one source, and this names both `env` and `file`",
            "leave one of them out",
        )),
        (None, None) => Err(MissingSecret::new(
            "nothing says where this secret comes from",
            "write `{ env = \"NAME\" }` or `{ file = \"PATH\" }`",
        )),
    }
}

fn from_variable(name: &str, environment: &Environment) -> Result<SecretString, MissingSecret> {
    if let Some(value) = environment.get(name) {
        return Ok(value.into());
    }
    let state = if environment.has(name) { "is empty" } else { "is not set" };
    let near = nearest(name, environment.names().filter(|other| *other != name));
    let help = match near {
        Some(near) => {
            format!("did you mean `{near}`, which is set? Else set `{name}` before Witgate starts")
        }
        None => format!("set `{name}` before Witgate starts, or read the secret from a `file`"),
    };
    Err(MissingSecret::new(format!("the environment variable `{name}` {state}"), help))
}

fn from_file(path: PathBuf) -> Result<SecretString, MissingSecret> {
    let shown = path.display();
    let bytes = Zeroizing::new(std::fs::read(&path).map_err(|error| MissingSecret {
        message: match error.kind() {
            io::ErrorKind::NotFound => format!("there is no file `{shown}`"),
            _ => format!("the file `{shown}` cannot be read: {error}"),
        },
        help: "write the secret into it, and let only the user who starts Witgate read it".to_owned(),
        cause: Cause::of(&error),
    })?);
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        MissingSecret::new(
            format!("the file `{shown}` is not text in UTF-8"),
            "a secret is text; encode other bytes, for example in base64",
        )
    })?;
    match in_file(text) {
        "" => Err(MissingSecret::new(format!("the file `{shown}` is empty"), "write the secret into it")),
        secret => Ok(secret.into()),
    }
}
