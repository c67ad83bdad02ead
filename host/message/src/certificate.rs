//! The client certificate of a mutual-TLS connection, which the handshake has verified.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use witgate_base::digest::sha256;
use witgate_base::pem::pem;

/// A client certificate, in the forms that policies use.
#[derive(Debug)]
pub struct ClientCertificate {
    pem: String,
    thumbprint: String,
    /// The end of its validity, in seconds since the Unix epoch.
    not_after: u64,
}

impl ClientCertificate {
    /// The certificate with this DER. None: it cannot be read, or it ended before 1970.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let not_after = parsed.validity().not_after.timestamp().try_into().ok()?;
        Some(Self { pem: pem(der), thumbprint: URL_SAFE_NO_PAD.encode(sha256(der)), not_after })
    }

    /// The certificate as a credential, in PEM (RFC 7468).
    pub fn as_credential(&self) -> SecretString {
        self.pem.as_str().into()
    }

    /// SHA-256 of the certificate's DER, in base64url (`x5t#S256` of RFC 8705, section 3.1).
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// The end of its validity, in seconds since the Unix epoch.
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// True if the certificate has not expired at `now`, in seconds since the Unix epoch. The handshake has checked
    /// this once, but a connection may last longer than a certificate.
    pub fn is_valid_at(&self, now: u64) -> bool {
        now <= self.not_after
    }
}
