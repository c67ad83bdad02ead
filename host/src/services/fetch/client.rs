//! The HTTP client: addresses checked when connecting, no redirects, answers bounded in size.

use std::collections::HashSet;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use url::Url;
use witgate_plugin::HttpError;

use super::{Document, Unanswered};

/// Largest answer: a JWK Set or an introspection answer has a few kilobytes.
const LARGEST_ANSWER: usize = 1 << 20;
/// Longest wait for a connection. The whole answer has a bound of its own.
const CONNECT: Duration = Duration::from_secs(5);

/// Which addresses an origin may resolve to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Public ones only: for origins that a plugin was granted.
    Public,
    /// Private and loopback ones too: for endpoints that the operator has named as such.
    /// Link-local ones, where clouds keep their metadata, never.
    Private,
}

/// Sends a request, and collects the answer.
pub(super) async fn exchange(
    reach: Reach,
    outgoing: http::Request<Full<Bytes>>,
) -> Result<Document, Unanswered> {
    let client = match reach {
        Reach::Public => &PUBLIC,
        Reach::Private => &PRIVATE,
    };
    let response = client.request(outgoing).await.map_err(|error| match refused_address(&error) {
        true => Unanswered::from(HttpError::NotGranted),
        false => Unanswered::because(HttpError::Unreachable, &error),
    })?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LARGEST_ANSWER)
        .collect()
        .await
        .map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
            true => Unanswered::from(HttpError::TooLarge),
            false => Unanswered::because(HttpError::Unreachable, &*error),
        })?
        .to_bytes();
    Ok(Document::from_parts(head, body))
}

type HttpClient = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

static PUBLIC: LazyLock<HttpClient> = LazyLock::new(|| client(Reach::Public));
static PRIVATE: LazyLock<HttpClient> = LazyLock::new(|| client(Reach::Private));

fn client(reach: Reach) -> HttpClient {
    let mut http = HttpConnector::new_with_resolver(Resolver { reach });
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT));
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_native_roots()
        .unwrap_or_else(|error| {
            tracing::warn!(
                "no certificate authorities on this machine, so no https server can be trusted: {error}"
            );
            hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(without_roots())
        })
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Client::builder(TokioExecutor::new()).build(https)
}

fn without_roots() -> rustls::ClientConfig {
    rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// Resolves names, and lets only those addresses through that the reach covers: what is checked
/// is what is connected to, so a name that resolves differently the second time gains nothing.
#[derive(Clone, Copy, Debug)]
struct Resolver {
    reach: Reach,
}

#[derive(Debug, thiserror::Error)]
#[error("the name resolves to addresses that are not connected to")]
struct RefusedAddress;

fn refused_address(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        error.is::<RefusedAddress>()
            || error
                .downcast_ref::<std::io::Error>()
                .and_then(|io| io.get_ref())
                .is_some_and(|inner| inner.is::<RefusedAddress>())
    })
}

impl tower::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.reach;
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let covered: HashSet<_> = found.into_iter().filter(|a| reach.covers(a.ip())).collect();
            if covered.is_empty() {
                return Err(std::io::Error::other(RefusedAddress));
            }
            Ok(covered.into_iter().collect::<Vec<_>>().into_iter())
        })
    }
}

/// The address that a URL names itself, which nobody resolves.
pub(super) fn literal_address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        url::Host::Ipv4(address) => Some(address.into()),
        url::Host::Ipv6(address) => Some(address.into()),
        url::Host::Domain(_) => None,
    }
}

impl Reach {
    /// Whether an address may be connected to.
    pub(super) fn covers(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            Self::Public => is_public(address),
            Self::Private => !is_link_local(address) && !address.is_unspecified() && !address.is_multicast(),
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        // The second is where one cloud keeps its metadata.
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local() || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        }
    }
}

/// Special-purpose addresses by the IANA registries (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (b & 0xc0) == 64)
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b & 0xfe) == 18))
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                // NAT64 and 6to4 carry an IPv4 address inside; documentation is nobody's.
                || (first == 0x64 && second == 0xff9b)
                || first == 0x2002
                || (first == 0x2001 && (second == 0xdb8 || second < 0x200)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Reach;

    #[test]
    fn special_addresses_are_not_public() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert!(!Reach::Public.covers(address), "{address}");
        }
        assert!(Reach::Public.covers("93.184.216.34".parse().expect("an address")));
        assert!(Reach::Public.covers("2606:2800:220:1::1".parse().expect("an address")));
    }

    #[test]
    fn metadata_addresses_are_nobodys_reach() {
        for address in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254"] {
            assert!(!Reach::Private.covers(address.parse().expect("an address")), "{address}");
        }
        assert!(Reach::Private.covers("127.0.0.1".parse().expect("an address")));
    }
}
