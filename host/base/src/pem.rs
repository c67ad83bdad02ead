//! Certificates in PEM.

use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::cause::Cause;

/// The error for a file that does not contain the expected certificates.
#[derive(Debug)]
pub struct PemError {
    /// The error, with advice.
    pub message: String,
    /// The cause.
    pub cause: Cause,
}

/// The certificates in a file, at least one.
///
/// # Errors
/// If it cannot be read, is not PEM, or contains none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let wrong = |message| PemError { message, cause: Cause::Content };
    let bytes = std::fs::read(path).map_err(|error| PemError {
        message: format!("{} cannot be read: {error}", path.display()),
        cause: Cause::of(&error),
    })?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(wrong(format!(
            "there is no certificate in {}; it has to be PEM (`BEGIN CERTIFICATE`)",
            path.display()
        ))),
        Err(error) => Err(wrong(format!("{} is not valid PEM: {error}", path.display()))),
    }
}

/// The certificates of authorities in a file.
///
/// # Errors
/// As [`certificates`], and if one is not of an authority.
pub fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found = certificates(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &found {
        roots.add(certificate.clone()).map_err(|error| PemError {
            message: format!("a certificate in {} cannot be used as a CA: {error}", path.display()),
            cause: Cause::Content,
        })?;
    }
    Ok(found)
}
/// A certificate in PEM (RFC 7468), from its DER.
pub fn pem(der: &[u8]) -> String {
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = STANDARD.encode(der);
    while !rest.is_empty() {
        let next = rest.split_off(rest.len().min(64));
        let _ = writeln!(pem, "{rest}");
        rest = next;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
