//! Secrets over plain HTTP, and passwords that are open to any number of guesses.

use std::collections::BTreeMap;

use url::{Host, Url};

use super::resolver::Resolver;
use crate::{Policy, PolicyKind, Server, Transport, raw};

impl Resolver<'_> {
    /// Refuses passwords at these places if a network could read them: anybody on the way could use a password again, here
    /// and wherever else its owner has it.
    pub(super) fn no_passwords_in_clear(
        &mut self,
        written: &raw::Server,
        server: &Server,
        places: &[Vec<String>],
    ) {
        let is_local = server.transport == Transport::Stdio || server.listen.ip().is_loopback();
        let is_public_plain = written.resource.as_deref().is_some_and(|url| url.starts_with("http://"));
        let is_behind_proxy = !written.trusted_proxies.is_empty() && !is_public_plain;
        if is_local || is_behind_proxy || written.tls.is_some() {
            return;
        }
        for at in places {
            let at: Vec<_> = at.iter().map(String::as_str).collect();
            let message =
                "passwords would cross the network in clear: other machines may call, by plain HTTP";
            let help = "add `[server.tls]`, or listen on 127.0.0.1; if a proxy ends TLS, name it in \
                        `server.trusted_proxies`, and its URL `https://…` as `server.resource`";
            self.error(&at, message, help);
        }
    }

    /// The URL of a server that gets secrets of Witgate or issues some.
    pub(super) fn url_of_secrets(&mut self, at: &[&str], text: &str) -> Option<Url> {
        let url = self.url(at, text)?;
        self.no_secrets_in_clear(at, &url).then_some(url)
    }

    /// Refuses to send secrets to `url` if a network could read them.
    pub(super) fn no_secrets_in_clear(&mut self, at: &[&str], url: &Url) -> bool {
        let is_local = match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let is_safe = is_local || url.scheme() == "https";
        if !is_safe {
            let message = "a credential would cross the network in clear: this is plain HTTP";
            self.error(at, message, "write an `https://` URL, or one of this machine");
        }
        is_safe
    }

    /// Warns of passwords at these places if anybody may guess without a pause: people choose passwords that can be guessed.
    pub(super) fn guesses_without_pause(
        &mut self,
        file: &raw::File,
        server: &Server,
        places: &[Vec<String>],
    ) {
        if server.transport == Transport::Stdio || file.lockout.is_some() {
            return;
        }
        for at in places {
            let at: Vec<_> = at.iter().map(String::as_str).collect();
            let message = "passwords may be guessed without a pause: there is no `[lockout]`";
            self.warning(&at, message, "add an empty table `[lockout]`");
        }
    }
}

/// The settings because of which Witgate gets passwords: policies, and `[accounts]`.
pub(super) fn places_of_passwords(file: &raw::File, policies: &BTreeMap<String, Policy>) -> Vec<Vec<String>> {
    let basic = policies.iter().filter(|(_, policy)| policy.kind == PolicyKind::Basic);
    let basic = basic.map(|(name, _)| ["policies", name, "kind"].map(str::to_owned).to_vec());
    let accounts = file.accounts.as_ref().map(|_| vec!["accounts".to_owned()]);
    basic.chain(accounts).collect()
}
