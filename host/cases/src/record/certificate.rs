//! A replacement for a certificate, with its names, times and extensions, but without its key and signature. It is not
//! valid anywhere.

use x509_parser::pem::parse_x509_pem;

use witgate_base::pem::pem;

/// The certificate in PEM, without key and signature. None: the text is not a certificate.
pub(super) fn stand_in(text: &str) -> Option<String> {
    let (_, parsed) = parse_x509_pem(text.as_bytes()).ok()?;
    let certificate = parsed.parse_x509().ok()?;
    let key = certificate.tbs_certificate.subject_pki.subject_public_key.data.to_vec();
    let signature = certificate.signature_value.data.to_vec();
    let mut der = parsed.contents.clone();
    for part in [key, signature] {
        blank(&mut der, &part)?;
    }
    Some(pem(&der))
}

/// Overwrites `part` with zeros. None: `der` does not contain it.
fn blank(der: &mut [u8], part: &[u8]) -> Option<()> {
    let at = der.windows(part.len().max(1)).position(|window| window == part)?;
    der.get_mut(at..at + part.len())?.fill(0);
    Some(())
}
