//! The kinds of `[credentials]` that are tokens.

use std::sync::Arc;
use std::time::Duration;

use witgate_plugin::is_scope;

use super::resolver::Resolver;
use crate::Signing;
use crate::credentials::{ClientProof, OutboundSource, Retrieval, TokenSettings};
use crate::raw::{ClientAuthForm, CredentialTable, OutboundKind};

/// The default time before the end of a token at which it is renewed: a server that is away for some minutes does no
/// harm.
const REFRESH_BEFORE_S: u64 = 300;

/// The default lifetime of a token that Witgate signs.
const LIFETIME_S: u64 = 300;

/// The time before the end of a token at which it is renewed.
pub(super) fn refresh_before(table: &CredentialTable) -> Duration {
    Duration::from_secs(table.refresh_before_s.unwrap_or(REFRESH_BEFORE_S))
}

impl Resolver<'_> {
    pub(super) fn token_settings(&mut self, name: &str, table: &CredentialTable) -> Option<TokenSettings> {
        let url = self.needed(name, "token_url", table.token_url.as_ref());
        let token_url = url.and_then(|url| self.url_of_secrets(&["credentials", name, "token_url"], url));
        let client_id = self.needed(name, "client_id", table.client_id.as_ref());
        self.scopes_of_tokens(name, &table.scopes);
        let issuer = table.issuer.as_deref().or(table.token_url.as_deref()).unwrap_or_default();
        let proof = self.client_proof(name, table, issuer);
        let (token_url, client_id, proof) = (token_url?, client_id?, proof?);
        Some(TokenSettings {
            token_url,
            issuer: issuer.into(),
            client_id: client_id.as_str().into(),
            proof,
            scopes: table.scopes.clone(),
            audience: table.audience.clone(),
            resource: table.resource.clone(),
            refresh_before: refresh_before(table),
        })
    }

    pub(super) fn scopes_of_tokens(&mut self, name: &str, scopes: &[String]) {
        for (index, scope) in scopes.iter().enumerate().filter(|(_, scope)| !is_scope(scope)) {
            let at = ["credentials", name, "scopes", &index.to_string()];
            let message = format!("`{scope}` is not a scope");
            self.error(&at, message, "write one scope, without spaces and quotes");
        }
    }

    pub(super) fn client_proof(
        &mut self,
        name: &str,
        table: &CredentialTable,
        issuer: &str,
    ) -> Option<ClientProof> {
        if table.client_auth.is_some() && table.client_secret.is_none() {
            let message = "`client_auth` is the place of a `client_secret`, and there is none";
            self.error(&["credentials", name, "client_auth"], message, "leave it out");
        }
        match (&table.client_secret, &table.client_key) {
            (Some(_), Some(_)) => {
                let message = "a client has a secret or a key, and this has both";
                self.error(&["credentials", name, "client_key"], message, "leave one of them out");
                None
            }
            (Some(secret), None) => {
                let secret = self.retrieve(&["credentials", name, "client_secret"], secret)?;
                Some(match table.client_auth {
                    Some(ClientAuthForm::Post) => ClientProof::Post(secret),
                    Some(ClientAuthForm::Basic) | None => ClientProof::Basic(secret),
                })
            }
            (None, Some(key)) => {
                let at = ["credentials", name, "client_key"];
                let key = self.retrieve(&at, key)?;
                self.is_pem(&at, &key)?;
                Some(ClientProof::PrivateKey { key, audience: issuer.to_owned() })
            }
            (None, None) => self.public_client(name, table),
        }
    }

    /// An exchange may be open to public clients, but a token for Witgate alone needs a proof (RFC 6749, section 4.4).
    fn public_client(&mut self, name: &str, table: &CredentialTable) -> Option<ClientProof> {
        let at = ["credentials", name];
        let written = ["client_secret", "client_key"];
        if written.iter().any(|setting| self.document.has(&["credentials", name, setting])) {
            // It has the wrong type, which is already reported.
            return None;
        }
        if table.kind == OutboundKind::Exchange {
            return Some(ClientProof::None);
        }
        let message =
            format!("nothing proves to the authorization server that Witgate is the client of `{name}`");
        self.error(
            &at,
            message,
            "add `client_secret = { env = \"NAME\" }`, or `client_key = { file = \"PATH\" }`",
        );
        None
    }

    fn is_pem(&mut self, at: &[&str], key: &Retrieval) -> Option<()> {
        match key {
            Retrieval::Secret(key) if !key.expose().contains("-----BEGIN ") => {
                let help = "it begins with `-----BEGIN PRIVATE KEY-----`";
                self.error(at, "this is not a private key in PEM", help);
                None
            }
            _ => Some(()),
        }
    }

    pub(super) fn signed_token(
        &mut self,
        name: &str,
        table: &CredentialTable,
        signing: Option<&Signing>,
    ) -> Option<OutboundSource> {
        let audience = self.needed(name, "audience", table.audience.as_ref());
        if signing.is_none() && !self.document.has(&["signing"]) {
            let message = "nothing says which key signs this token";
            self.error(&["credentials", name, "kind"], message, "add `[signing]` with a `key`");
        }
        let (signing, audience) = (signing?, audience?);
        Some(OutboundSource::Signed {
            signer: Arc::clone(&signing.signer),
            issuer: signing.signer.issuer().into(),
            audience: audience.clone(),
            subject: table.subject.as_deref().unwrap_or("witgate").into(),
            lifetime: Duration::from_secs(table.lifetime_s.unwrap_or(LIFETIME_S)),
        })
    }
}
