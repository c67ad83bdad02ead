//! Client certificates of mutual TLS, turned into identities. In the handshake, the host has already verified
//! that a configured CA issued the certificate, and that the caller has its key. This policy reads the
//! certificate and determines the caller.

mod certificate;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{
    Authenticate, Call, ConfigError, Credential, Glob, Host, Identity, OneOrMany, Plugin, Refusal, Scheme,
    Verdict, Wants,
};

use certificate::Certificate;

/// The settings of a `client-certificate` policy.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The kind of name in the certificate that identifies the caller: `san-uri`, `san-dns`, `san-email` or
    /// `common-name`.
    pub subject: CertificateField,
    /// Patterns of the names that may call; `*` matches any characters. Absent: all names in certificates
    /// of a configured CA.
    pub allow: Option<OneOrMany>,
    /// Patterns of the accepted issuers of certificates, written as in RFC 4514: `CN=Agents CA,O=Example`.
    /// Absent: all configured CAs.
    pub issuers: Option<OneOrMany>,
    /// Roles, and patterns of the names that have them.
    #[serde(default)]
    pub roles: BTreeMap<String, OneOrMany>,
}

/// The kind of a name in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[schemars(rename = "Field")]
pub enum CertificateField {
    /// A URI among the alternative names, such as a SPIFFE ID.
    SanUri,
    /// A DNS name among the alternative names.
    SanDns,
    /// An email address among the alternative names.
    SanEmail,
    /// The common name of the subject.
    CommonName,
}

/// One configured `client-certificate` policy.
#[derive(Debug)]
pub struct CertificatePolicy {
    subject: CertificateField,
    allow: Option<Vec<Glob>>,
    issuers: Option<Vec<Glob>>,
    roles: Vec<(String, Vec<Glob>)>,
}

impl Plugin for CertificatePolicy {
    const NAME: &'static str = "client-certificate";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Knows callers by the client certificates of mutual TLS.";
    type Config = Config;

    fn configure(_policy: &str, config: Config) -> Result<(Self, Wants), ConfigError> {
        let roles = config.roles.iter().map(|(role, names)| {
            if !(1..=256).contains(&role.len()) || role.chars().any(char::is_control) {
                return Err(ConfigError::at("/roles", "a role's name has 1 to 256 bytes"));
            }
            Ok((role.clone(), patterns("/roles", names)?))
        });
        let policy = Self {
            subject: config.subject,
            allow: config.allow.as_ref().map(|names| patterns("/allow", names)).transpose()?,
            issuers: config.issuers.as_ref().map(|names| patterns("/issuers", names)).transpose()?,
            roles: roles.collect::<Result<_, _>>()?,
        };
        if policy.roles.len() > 256 {
            return Err(ConfigError::at("/roles", "more than 256 roles"));
        }
        Ok((policy, Wants { schemes: vec![Scheme::Certificate], ..Wants::default() }))
    }
}

fn patterns(pointer: &str, texts: &OneOrMany) -> Result<Vec<Glob>, ConfigError> {
    if texts.0.is_empty() || texts.has("") {
        return Err(ConfigError::at(pointer, "an empty pattern matches nothing; write `*` or a name"));
    }
    Ok(texts.0.iter().map(|text| Glob::new(text)).collect())
}

impl Authenticate for CertificatePolicy {
    async fn authenticate<H: Host>(
        &self,
        host: &H,
        _call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Verdict {
        if credential.scheme != Scheme::Certificate {
            return Verdict::NotMine;
        }
        match self.judge(host.now(), credential.value) {
            Ok(identity) => Verdict::Identity(identity),
            Err(refusal) => Verdict::Refused(refusal),
        }
    }
}

impl CertificatePolicy {
    fn judge(&self, now: u64, pem: &str) -> Result<Identity, Refusal> {
        let certificate = Certificate::parse(pem)?;
        // The handshake has checked this once, but a connection may stay open for longer.
        if now < certificate.not_before {
            return Err(Refusal::new("not-yet-valid", "the certificate is not valid yet"));
        }
        if now > certificate.not_after {
            return Err(Refusal::new("expired", "the certificate has expired"));
        }
        if !self.issuers.as_ref().is_none_or(|issuers| matches(issuers, &certificate.issuer)) {
            return Err(Refusal::new("wrong-issuer", "the issuer of the certificate is not allowed"));
        }
        let subject = self.subject(&certificate)?.to_owned();
        let holds = |(_, names): &&(String, Vec<Glob>)| matches(names, &subject);
        Ok(Identity {
            roles: self.roles.iter().filter(holds).map(|(role, _)| role.clone()).collect(),
            claims: Some(certificate.claims()),
            // The certificate is still valid in that second (RFC 5280, section 4.1.2.5).
            expires_at: Some(certificate.not_after.saturating_add(1)),
            issuer: Some(certificate.issuer),
            scopes: Vec::new(),
            subject,
        })
    }

    /// The name of the caller. If several names are allowed, it is an error, because the certificate does not say
    /// which of them it was issued for.
    fn subject<'c>(&self, certificate: &'c Certificate) -> Result<&'c str, Refusal> {
        let names = certificate.names(self.subject);
        if names.is_empty() {
            return Err(Refusal::new("no-subject", "the certificate has no name of the configured kind"));
        }
        let allowed = |name: &&String| self.allow.as_ref().is_none_or(|allow| matches(allow, name));
        let mut allowed = names.iter().filter(allowed);
        match (allowed.next(), allowed.next()) {
            (None, _) => Err(Refusal::new("not-allowed", "no name of the certificate is allowed")),
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => {
                let detail = "several names of the certificate are allowed; narrow `allow` to one of them";
                Err(Refusal::new("ambiguous-subject", detail))
            }
        }
    }
}

fn matches(patterns: &[Glob], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

witgate_plugin::export_authenticator!(CertificatePolicy);
