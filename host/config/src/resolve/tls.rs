//! `[server.tls]`.

use std::path::PathBuf;

use super::resolver::Resolver;
use crate::raw::{self, SecretSource};
use crate::secrets::named;
use crate::{ClientCertificates, TlsKey, TlsSettings};
use witgate_base::fingerprints::Fingerprints;

impl Resolver<'_> {
    /// Resolves `[server.tls]` to paths. The content of the files is read later, so that a reload of the rest does not
    /// depend on it.
    pub(super) fn tls(&mut self, server: &raw::Server) -> Option<TlsSettings> {
        let written = server.tls.as_ref()?;
        if matches!(server.transport, Some(raw::Transport::Stdio)) {
            let message = "over stdio there are no connections to encrypt";
            self.warning(&["server", "tls"], message, "leave `[server.tls]` out, or serve over `http`");
        }
        if server.resource.as_ref().is_some_and(|resource| resource.starts_with("http://")) {
            let message = "`resource` is an http URL, but the listener speaks TLS";
            let help = "write the URL with https: tokens have to name it as their audience";
            self.warning(&["server", "resource"], message, help);
        }
        let certificate = self.tls_path("certificate", written.certificate.as_deref());
        let key = self.tls_key(written.key.as_ref());
        let client_ca = written.client_ca.as_deref().map(|path| self.path(path));
        let clients = self.client_certificates(written);
        Some(TlsSettings { certificate: certificate?, key: key?, client_ca, clients })
    }

    fn tls_path(&mut self, setting: &str, written: Option<&str>) -> Option<PathBuf> {
        if written.is_none() {
            let message = format!("TLS needs a `{setting}`");
            let help = format!("write `{setting} = \"PATH\"`, a file in PEM");
            self.error(&["server", "tls"], message, help);
        }
        written.map(|path| self.path(path))
    }

    fn tls_key(&mut self, written: Option<&SecretSource>) -> Option<TlsKey> {
        let Some(source) = written else {
            let help = "write `key = { file = \"PATH\" }`, a file in PEM that only Witgate's user may read";
            self.error(&["server", "tls"], "TLS needs the `key` of its certificate", help);
            return None;
        };
        let at = ["server", "tls", "key"];
        match (named(source).as_slice(), source) {
            (["file"], SecretSource { file: Some(file), .. }) => Some(TlsKey::File(self.path(file))),
            (["credential"], SecretSource { credential: Some(name), .. }) => {
                match self.sources.credential_path(name) {
                    Ok(path) => Some(TlsKey::File(path)),
                    Err(missing) => self.accept(&at, Err(missing)).map(TlsKey::Text),
                }
            }
            (_, source) if self.is_endless(&at, source) => {
                // A change is not in force before a restart, so these files are not watched.
                let read = self.sources.read(source, &self.base, &mut Fingerprints::default());
                self.accept(&at, read).map(TlsKey::Text)
            }
            _ => None,
        }
    }

    /// The demand for client certificates, which a CA implies.
    fn client_certificates(&mut self, written: &raw::Tls) -> ClientCertificates {
        let clients = match (written.client_certificates, &written.client_ca) {
            (Some(raw::ClientCertificates::Off), _) | (None, None) => ClientCertificates::Off,
            (Some(raw::ClientCertificates::Optional), _) => ClientCertificates::Optional,
            (Some(raw::ClientCertificates::Required), _) | (None, Some(_)) => ClientCertificates::Required,
        };
        if clients != ClientCertificates::Off && written.client_ca.is_none() {
            let message = "nothing says which CA the certificates of clients come from";
            let at = ["server", "tls", "client_certificates"];
            self.error(&at, message, "write `client_ca = \"PATH\"`, a file in PEM");
        }
        clients
    }
}
