//! `[keys]`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;
use witgate_plugin::issuer::is_issuer;

use super::resolver::{Presence, Resolver};
use crate::raw::{Key, Text};
use crate::secrets::SecretSources;
use crate::{KeyPlace, KeySource, MAX_STALE, raw};
use witgate_base::fingerprints::Fingerprints;

impl Resolver<'_> {
    pub(super) fn keys(&mut self, keys: &BTreeMap<String, Key>) -> BTreeMap<String, KeySource> {
        let resolve = |(name, key): (&String, &Key)| Some((name.clone(), self.key(&["keys", name], key)?));
        keys.iter().filter_map(resolve).collect()
    }

    pub(super) fn key(&mut self, at: &[&str], key: &Key) -> Option<KeySource> {
        let present: Vec<_> =
            SOURCES.into_iter().filter(|name| self.document.has(&[at, &[*name]].concat())).collect();
        if present.len() != 1 {
            let message = match present.as_slice() {
                [] => "this key has no source".to_owned(),
                _ => format!("a key has one source, and this names {}", crate::shape::listed(&present)),
            };
            self.error(
                at,
                message,
                "write exactly one of `secret`, `pem`, `jwks_file`, `jwks_url` and `issuer`",
            );
            return None;
        }
        let is_fetched = key.jwks_url.is_some() || key.issuer.is_some();
        if key.max_stale_s.is_some() && !is_fetched {
            let help = "leave it out; it is for `jwks_url` and `issuer`";
            self.error(&[at, &["max_stale_s"]].concat(), "this key is not fetched", help);
        }
        let inner = |name| [at, &[name]].concat();
        match key {
            Key { secret: Some(source), .. } => self.secret(&inner("secret"), source).map(KeySource::Secret),
            Key { pem: Some(pem), .. } => self.pem(&inner("pem"), pem),
            Key { jwks_file: Some(file), .. } => self.jwks_file(&inner("jwks_file"), file),
            Key { jwks_url: Some(url), .. } => {
                self.url(&inner("jwks_url"), url).map(|url| remote(KeyPlace::Url(url), key))
            }
            Key { issuer: Some(issuer), .. } => {
                self.issuer(&inner("issuer"), issuer).map(|place| remote(place, key))
            }
            // It has the wrong type, which is already reported.
            _ => None,
        }
    }

    fn pem(&mut self, at: &[&str], pem: &Text) -> Option<KeySource> {
        let pem = match pem {
            Text::Secret(source) => self.secret(at, source)?,
            Text::Plain(text) if text.contains("PRIVATE KEY") => {
                let help = "move it into a file and write `pem = { file = \"PATH\" }`; public keys may stay";
                self.error(at, "a private key is in the file as plain text", help);
                return None;
            }
            Text::Plain(text) => text.as_str().into(),
        };
        if !pem.expose_secret().contains("-----BEGIN ") {
            let help = "it begins with `-----BEGIN …-----`; a file is named by `pem = { file = \"PATH\" }`";
            self.error(at, "this is not PEM", help);
            return None;
        }
        Some(KeySource::Pem(pem))
    }

    fn jwks_file(&mut self, at: &[&str], file: &str) -> Option<KeySource> {
        let path = self.path(file);
        match self.presence(at, &path) {
            Presence::File => Some(KeySource::JwksFile(path)),
            Presence::Unknown => None,
            Presence::Nothing | Presence::NoFile => {
                let message = format!("there is no file `{}`", path.display());
                self.error(at, message, "put the JWK Set there, or name it by `jwks_url`");
                None
            }
        }
    }

    fn issuer(&mut self, at: &[&str], issuer: &str) -> Option<KeyPlace> {
        if !is_issuer(issuer) {
            let help =
                "write it exactly as its tokens have it in `iss`, for example `https://idp.example.com`";
            self.error(at, NO_ISSUER, help);
            return None;
        }
        Some(KeyPlace::Issuer(issuer.to_owned()))
    }
}

const SOURCES: [&str; 5] = ["secret", "pem", "jwks_file", "jwks_url", "issuer"];

const NO_ISSUER: &str = "an issuer is an http or https URL without user, query and fragment";

fn remote(place: KeyPlace, key: &Key) -> KeySource {
    let max_stale = key.max_stale_s.map_or(MAX_STALE, |seconds| Duration::from_secs(seconds.into()));
    KeySource::Remote { place, max_stale }
}

/// A single key, for commands that need no other. Secrets of other keys are not read.
///
/// # Errors
/// With a sentence about the fault and what to do.
pub fn key(key: &raw::Key, base: &Path, secrets: &SecretSources) -> Result<KeySource, String> {
    let secret = |source| {
        let read = secrets.read(source, base, &mut Fingerprints::default());
        read.map(|secret| secret.value).map_err(|missing| format!("{}; {}", missing.message, missing.help))
    };
    match key {
        Key { secret: Some(source), .. } => secret(source).map(KeySource::Secret),
        Key { pem: Some(Text::Secret(source)), .. } => secret(source).map(KeySource::Pem),
        Key { pem: Some(Text::Plain(text)), .. } => Ok(KeySource::Pem(text.as_str().into())),
        Key { jwks_file: Some(file), .. } => Ok(KeySource::JwksFile(base.join(file))),
        Key { jwks_url: Some(url), .. } => url::Url::parse(url)
            .map(|url| remote(KeyPlace::Url(url), key))
            .map_err(|error| format!("its `jwks_url` is not a URL: {error}")),
        Key { issuer: Some(issuer), .. } if is_issuer(issuer) => {
            Ok(remote(KeyPlace::Issuer(issuer.clone()), key))
        }
        Key { issuer: Some(_), .. } => Err(NO_ISSUER.to_owned()),
        _ => Err("it has none of `secret`, `pem`, `jwks_file`, `jwks_url` and `issuer`".to_owned()),
    }
}
