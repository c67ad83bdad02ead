//! The parts of a certificate (RFC 5280) that the policy reads.

use serde_json::json;
use witgate_plugin::Refusal;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{GeneralName, X509Certificate, X509Name};

use crate::CertificateField;

/// The names and times of a certificate.
pub(crate) struct Certificate {
    serial: String,
    /// The issuer (RFC 4514).
    pub(crate) issuer: String,
    subject: String,
    /// The first second in which the certificate is valid, since the Unix epoch.
    pub(crate) not_before: u64,
    /// The last second in which the certificate is valid.
    pub(crate) not_after: u64,
    common_names: Vec<String>,
    uris: Vec<String>,
    dns: Vec<String>,
    emails: Vec<String>,
}

impl Certificate {
    /// Reads one certificate in PEM.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let (rest, pem) = parse_x509_pem(text.as_bytes()).map_err(|_| malformed("it is not in PEM"))?;
        if pem.label != "CERTIFICATE" || !rest.trim_ascii().is_empty() {
            return Err(malformed("it is not exactly one certificate in PEM"));
        }
        let whole = pem.parse_x509().map_err(|_| malformed("it does not have the form of RFC 5280"))?;
        Self::read(&whole)
    }

    fn read(whole: &X509Certificate<'_>) -> Result<Self, Refusal> {
        let time = |seconds: i64| u64::try_from(seconds).unwrap_or(0);
        let mut certificate = Self {
            serial: whole.raw_serial_as_string(),
            issuer: name(whole.issuer())?,
            subject: name(whole.subject())?,
            not_before: time(whole.validity().not_before.timestamp()),
            not_after: time(whole.validity().not_after.timestamp()),
            common_names: common_names(whole.subject())?,
            uris: Vec::new(),
            dns: Vec::new(),
            emails: Vec::new(),
        };
        let alternatives = whole
            .subject_alternative_name()
            .map_err(|_| malformed("its alternative names cannot be read"))?;
        for alternative in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
            let (list, text) = match alternative {
                GeneralName::URI(text) => (&mut certificate.uris, text),
                GeneralName::DNSName(text) => (&mut certificate.dns, text),
                GeneralName::RFC822Name(text) => (&mut certificate.emails, text),
                GeneralName::Invalid(..) => return Err(malformed("its alternative names cannot be read")),
                _ => continue,
            };
            list.push(usable(text)?);
        }
        Ok(certificate)
    }

    /// The names of one kind.
    pub(crate) fn names(&self, field: CertificateField) -> &[String] {
        match field {
            CertificateField::SanUri => &self.uris,
            CertificateField::SanDns => &self.dns,
            CertificateField::SanEmail => &self.emails,
            CertificateField::CommonName => &self.common_names,
        }
    }

    /// The claims for authorizers.
    pub(crate) fn claims(&self) -> String {
        json!({
            "serial": self.serial,
            "subject": self.subject,
            "issuer": self.issuer,
            "not_after": self.not_after,
            "san_uri": self.uris,
            "san_dns": self.dns,
            "san_email": self.emails,
        })
        .to_string()
    }
}

fn common_names(subject: &X509Name<'_>) -> Result<Vec<String>, Refusal> {
    subject.iter_common_name().map(|name| usable(name.as_str().map_err(|_| odd_name())?)).collect()
}

/// A name as RFC 4514 writes it: the last part comes first, and special characters are escaped, so that
/// different names have different texts.
fn name(name: &X509Name<'_>) -> Result<String, Refusal> {
    let mut parts = Vec::new();
    for part in name.iter_rdn() {
        let attributes: Result<Vec<_>, Refusal> = part
            .iter()
            .map(|attribute| {
                let value = attribute.as_str().map_err(|_| odd_name())?;
                Ok(format!("{}={}", key(&attribute.attr_type().to_id_string()), escaped(value)))
            })
            .collect();
        parts.push(attributes?.join("+"));
    }
    parts.reverse();
    let text = parts.join(",");
    // The limit of an identity's issuer.
    match text.len() <= 512 && !text.chars().any(char::is_control) {
        true => Ok(text),
        false => Err(odd_name()),
    }
}

/// The short name of an attribute (RFC 4514, section 3). Other attributes are written as their numbers.
fn key(oid: &str) -> &str {
    match oid {
        "2.5.4.3" => "CN",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.6" => "C",
        "2.5.4.9" => "STREET",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        other => other,
    }
}

fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (at, c) in value.chars().enumerate() {
        let at_an_end = (at == 0 && matches!(c, ' ' | '#')) || (at == last && c == ' ');
        if at_an_end || matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Checks the limits of an identity's subject.
fn usable(text: &str) -> Result<String, Refusal> {
    match (1..=512).contains(&text.len()) && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(odd_name()),
    }
}

fn odd_name() -> Refusal {
    malformed("a name in it is empty, too long, or not text")
}

fn malformed(detail: &str) -> Refusal {
    Refusal::new("malformed", format!("the certificate is invalid: {detail}"))
}
