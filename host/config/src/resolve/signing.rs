//! `[signing]`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;
use url::Url;
use witgate_plugin::issuer::is_issuer;

use super::resolver::Resolver;
use super::server::listen;
use crate::Signing;
use crate::raw::{self, OutboundKind, SecretSource};
use crate::secret_text::in_file;
use crate::secrets::Secret;
use witgate_base::cause::Cause;
use witgate_base::signing::{PublicKey, Signer};

const NEW_KEY: &str =
    "make one by `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE`";

impl Resolver<'_> {
    pub(super) fn signing(&mut self, file: &raw::File) -> Option<Signing> {
        let written = file.signing.as_ref()?;
        let issuer = self.signing_issuer(file, written);
        let published = written.published.iter().enumerate();
        let published = published
            .filter_map(|(index, path)| self.public_key(&["signing", "published", &index.to_string()], path))
            .collect();
        let key = self.signing_key(written.key.as_ref())?;
        match Signer::new(issuer, &key) {
            Ok(signer) => Some(Signing { signer: Arc::new(signer), published }),
            Err(fault) => {
                self.error(&["signing", "key"], fault.to_string(), NEW_KEY);
                None
            }
        }
    }

    pub(super) fn signing_is_used(&mut self, file: &raw::File) {
        let mut identities = file.upstreams.values().filter_map(|upstream| upstream.identity.as_ref());
        let signs = identities.any(|identity| identity.token.is_some())
            || file.credentials.values().any(|credential| credential.kind == OutboundKind::Signed);
        if signs && matches!(file.server.transport, Some(raw::Transport::Stdio)) {
            let message = "over stdio, there is no listener that could serve the public key";
            self.warning(&["signing"], message, "give it to the upstream in another way");
        } else if file.signing.is_some() && !signs {
            let help = "add `token` to the `identity` of an upstream, or a credential of the kind `signed`, or leave `[signing]` out";
            self.warning(&["signing"], "no upstream gets a signed token", help);
        }
    }

    fn signing_key(&mut self, written: Option<&SecretSource>) -> Option<SecretString> {
        let Some(source) = written else {
            if !self.document.has(&["signing", "key"]) {
                let help = format!("write `key = {{ file = \"PATH\" }}`; {NEW_KEY}");
                self.error(&["signing"], "nothing says which key signs", help);
            }
            return None;
        };
        self.private_key(&["signing", "key"], source)
    }

    /// A private key. If it comes from a file, nobody but its owner and its group may use that.
    pub(super) fn private_key(&mut self, at: &[&str], source: &SecretSource) -> Option<SecretString> {
        if let Some(file) = &source.file {
            self.is_private(at, &self.path(file));
        }
        if !self.is_endless(at, source) {
            return None;
        }
        let read = self.sources.read(source, &self.base, &mut self.files);
        self.accept(at, read.map(|secret| Secret { warning: None, ..secret }))
    }

    /// Checks that only the owner can read the key. Any other reader could sign in its name.
    pub(super) fn is_private(&mut self, at: &[&str], path: &Path) {
        let Ok(metadata) = path.metadata() else { return };
        if metadata.permissions().mode() & 0o037 != 0 {
            let message = format!("others may read or write the private key `{}`", path.display());
            self.error(
                at,
                message,
                format!("let only its owner read and write it: `chmod 600 {}`", path.display()),
            );
        }
    }

    /// The origin of the key set, unless another issuer is configured.
    fn signing_issuer(&mut self, file: &raw::File, written: &raw::Signing) -> String {
        if let Some(issuer) = &written.issuer {
            if !is_issuer(issuer) {
                let message = "an issuer is an http or https URL without user, query and fragment";
                self.error(&["signing", "issuer"], message, "write one such as `https://mcp.example.com`");
            }
            return issuer.clone();
        }
        let public = file.server.resource.as_deref().and_then(|public| Url::parse(public).ok());
        let scheme = if file.server.tls.is_some() { "https" } else { "http" };
        public.map_or_else(
            || format!("{scheme}://{}", listen(&file.server)),
            |url| url.origin().ascii_serialization(),
        )
    }

    fn public_key(&mut self, at: &[&str], file: &str) -> Option<PublicKey> {
        let path = self.path(file);
        self.files.note(&path);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("the file `{}` cannot be read: {error}", path.display());
                self.error_of(Cause::of(&error), at, message, "correct the path, or take it out");
                return None;
            }
        };
        match PublicKey::from_pem(in_file(&text)) {
            Ok(key) => Some(key),
            Err(fault) => {
                let help = "write the public half: `openssl pkey -in KEY -pubout -out FILE`";
                self.error(at, format!("`{}`: {fault}", path.display()), help);
                None
            }
        }
    }
}
