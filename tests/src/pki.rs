//! Authorities and certificates for tests.

use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};
use serde::Deserialize;

/// An authority that issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// The contents of a certificate that a test needs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Order {
    /// The authority's common name, if the order makes an authority of its own.
    pub issuer: Option<String>,
    /// The authority's organization.
    pub issuer_organization: Option<String>,
    /// The common name.
    pub common_name: Option<String>,
    /// Alternative names that are URIs.
    pub uris: Vec<String>,
    /// Alternative names that are DNS names.
    pub dns: Vec<String>,
    /// Alternative names that are email addresses.
    pub emails: Vec<String>,
    /// The first second in which it is valid, since the Unix epoch.
    pub not_before: Option<u64>,
    /// The last second in which it is valid, since the Unix epoch.
    pub not_after: Option<u64>,
    /// True if the certificate is for servers alone.
    pub for_servers: bool,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub pem: String,
    /// The private key.
    pub key: String,
    /// The certificate in DER.
    pub der: Vec<u8>,
}

impl Order {
    /// A certificate for a server with this name or address.
    pub fn server(name: &str) -> Self {
        Self { dns: vec![name.to_owned()], for_servers: true, ..Self::default() }
    }

    /// A certificate for a client with this URI.
    pub fn client(uri: &str) -> Self {
        Self { uris: vec![uri.to_owned()], ..Self::default() }
    }

    /// Has the authority that the order names issue the certificate.
    pub fn issue(&self) -> Issued {
        Authority::of(self.issuer.as_deref().unwrap_or("CA"), self.issuer_organization.as_deref()).issue(self)
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = &self.common_name {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        let text = |text: &String| Ia5String::try_from(text.as_str()).unwrap();
        let names = self.uris.iter().map(|name| SanType::URI(text(name)));
        let names = names.chain(self.emails.iter().map(|name| SanType::Rfc822Name(text(name))));
        let dns = self.dns.iter().map(|name| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(text(name)),
        });
        params.subject_alt_names = names.chain(dns).collect();
        let epoch = date_time_ymd(1970, 1, 1);
        if let Some(seconds) = self.not_before {
            params.not_before = epoch + Duration::from_secs(seconds);
        }
        if let Some(seconds) = self.not_after {
            params.not_after = epoch + Duration::from_secs(seconds);
        }
        let usage = match self.for_servers {
            true => ExtendedKeyUsagePurpose::ServerAuth,
            false => ExtendedKeyUsagePurpose::ClientAuth,
        };
        params.extended_key_usages = vec![usage];
        params
    }
}

impl Authority {
    /// An authority with this common name.
    pub fn new(name: &str) -> Self {
        Self::of(name, None)
    }

    fn of(name: &str, organization: Option<&str>) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(organization) = organization {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// The authority's own certificate, in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues a certificate.
    pub fn issue(&self, order: &Order) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = order.params().signed_by(&key, &self.issuer).unwrap();
        Issued { pem: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
    }
}
