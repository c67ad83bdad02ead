//! A certificate that only looks like another one: its names, its times and its extensions, without its key and its
//! signature. Nobody can show it to anybody.

use x509_parser::pem::parse_x509_pem;

use witgate_base::pem::pem;

/// The certificate in PEM, without key and signature. None: it is none.
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

/// Puts zeros in the place of `part`. None: it is not there.
fn blank(der: &mut [u8], part: &[u8]) -> Option<()> {
    let at = der.windows(part.len().max(1)).position(|window| window == part)?;
    der.get_mut(at..at + part.len())?.fill(0);
    Some(())
}
