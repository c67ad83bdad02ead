//! `[network]`.

use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::resolver::Resolver;
use crate::raw::{self, Text};
use crate::{KeySource, Network, Upstream, UpstreamTarget};
use witgate_base::pem::{self, PemError};

/// The value of `proxy` that selects the proxy variables of the environment.
const ENVIRONMENT: &str = "environment";

const HELP: &str = "write one such as `http://proxy.example.com:3128`, or `environment`";

/// The proxies of the environment.
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

impl Resolver<'_> {
    /// Resolves `[network]`. Faults concern only this section.
    pub(super) fn network(&mut self, written: &raw::Network) -> Network {
        let mut network = Network {
            cas: self.cas(written),
            system_cas: written.system_cas.unwrap_or(true),
            no_proxy: written.no_proxy.clone(),
            proxy_resolves: written.proxy_resolves.unwrap_or(false),
            ..Network::default()
        };
        match &written.proxy {
            None => self.without_proxy(written),
            Some(Text::Plain(text)) if text.is_empty() => {}
            Some(Text::Plain(text)) if text == ENVIRONMENT => self.environments_proxies(&mut network),
            Some(Text::Plain(text)) if text.contains('@') => {
                let help = "write `{ env = \"NAME\" }` or `{ file = \"PATH\" }`, with the whole URL";
                self.error(&["network", "proxy"], "a user or a password must not be in this file", help);
            }
            Some(Text::Plain(text)) => network.go_through(self.proxy(text)),
            Some(Text::Secret(source)) => {
                let secret = self.endless_secret(&["network", "proxy"], source);
                network.go_through(secret.and_then(|secret| self.proxy(secret.expose_secret())));
            }
        }
        network
    }

    fn cas(&mut self, written: &raw::Network) -> Vec<CertificateDer<'static>> {
        let Some(file) = &written.ca_file else {
            if written.system_cas == Some(false) {
                let message = "no certificate would be trusted: the authorities of the system are left out, and there are no others";
                self.error(&["network", "system_cas"], message, "name others in `ca_file`, or leave it out");
            }
            return Vec::new();
        };
        let path = self.path(file);
        self.files.note(&path);
        pem::authorities(&path).unwrap_or_else(|PemError { message, cause }| {
            let help = "name a file in PEM with the certificates of the CAs";
            self.error_of(cause, &["network", "ca_file"], message, help);
            Vec::new()
        })
    }

    fn without_proxy(&mut self, written: &raw::Network) {
        let others = [
            ("no_proxy", !written.no_proxy.is_empty()),
            ("proxy_resolves", written.proxy_resolves.is_some()),
        ];
        for (setting, _) in others.into_iter().filter(|(_, is_there)| *is_there) {
            self.warning(
                &["network", setting],
                "this has no effect without a `proxy`",
                "add `proxy`, or leave it out",
            );
        }
    }

    fn environments_proxies(&mut self, network: &mut Network) {
        let environment = self.environment;
        let either = |upper: &str, lower: &str| environment.get(upper).or_else(|| environment.get(lower));
        let mut proxy = |upper, lower| either(upper, lower).and_then(|text| self.proxy(text));
        network.https_proxy = proxy("HTTPS_PROXY", "https_proxy");
        network.http_proxy = proxy("HTTP_PROXY", "http_proxy");
        let others = either("NO_PROXY", "no_proxy").unwrap_or_default().split(',').map(str::trim);
        network.no_proxy.extend(others.filter(|other| !other.is_empty()).map(str::to_owned));
    }

    /// A proxy's URL. Messages never quote it, because it may contain a password.
    fn proxy(&mut self, text: &str) -> Option<SecretString> {
        // In the form in which other programs read it from the environment.
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let good = Url::parse(&whole).is_ok_and(|url| {
            let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            matches!(url.scheme(), "http" | "https") && url.host().is_some() && is_bare
        });
        // The connection uses this parser.
        if !good || whole.parse::<http::Uri>().is_err() {
            self.error(&["network", "proxy"], "this is not the http or https URL of a proxy", HELP);
            return None;
        }
        Some(SecretString::from(whole))
    }

    /// Warns about proxy variables that are set but not used. They are meant for all programs, and Witgate is an
    /// exception.
    pub(super) fn proxies_unused(&mut self, written: &raw::Network, upstreams: &[Upstream], fetches: bool) {
        let goes_out = |upstream: &Upstream| match &upstream.target {
            UpstreamTarget::Url { url, .. } | UpstreamTarget::Sse { url, .. } => {
                !matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
            }
            _ => false,
        };
        let set = VARIABLES.iter().find(|name| self.environment.get(name).is_some());
        if let (None, Some(name)) = (&written.proxy, set)
            && (fetches || upstreams.iter().any(goes_out))
        {
            let help = "write `proxy = \"environment\"` under `[network]`, or `proxy = \"\"` to go without";
            self.warning(&["network"], format!("{name} is set, but Witgate does not use it"), help);
        }
    }
}

/// True for fetched keys.
pub(super) fn is_fetched(key: &KeySource) -> bool {
    matches!(key, KeySource::Remote { .. })
}
