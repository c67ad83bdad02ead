//! The trusted authorities for servers' certificates.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};

use witgate_config::Network;

/// TLS that trusts the system's authorities, unless they are disabled, and those of the configuration.
pub(super) fn of(settings: &Network) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    if settings.system_cas {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
    }
    if roots.is_empty() && settings.system_cas {
        tracing::warn!("this machine has no certificate authorities; only those of [network] are trusted");
    }
    roots.add_parsable_certificates(settings.cas.iter().cloned());
    trusting(roots)
}

/// TLS that trusts nobody, so that no connection is made.
pub(super) fn none() -> ClientConfig {
    trusting(RootCertStore::empty())
}

fn trusting(roots: RootCertStore) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    // The provider supports both versions, so this does not fail. If it did, nobody would be trusted.
    let builder = builder.with_safe_default_protocol_versions().unwrap_or_else(|_| ClientConfig::builder());
    builder.with_root_certificates(roots).with_no_client_auth()
}
