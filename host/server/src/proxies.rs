//! Trusted proxies in front of the listener: they name the address of the client. Only one source of addresses counts,
//! and only from trusted proxies. Every other statement about addresses is ignored.

mod forwarded;
mod node;
mod protocol;

use std::io;
use std::net::IpAddr;

use ::http::HeaderMap;
use ipnet::IpNet;

use node::Node;
pub(super) use protocol::read;
use witgate_base::cause::with_sources;
use witgate_config::{Forwarded, Server};
use witgate_runtime::log::throttle::LogThrottle;

/// The trusted proxies, and the header in which they name the client.
#[derive(Debug, Default)]
pub struct TrustedProxies {
    trusted: Vec<IpNet>,
    forwarded: Option<Forwarded>,
    failing: LogThrottle,
}

/// The error of a proxy's header that cannot be read, or does not name an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` of the proxy does not name the sender")]
pub(crate) struct ProxyHeaderError(&'static str);

impl TrustedProxies {
    /// The trusted proxies of the configuration.
    pub fn of(server: &Server) -> Self {
        let (trusted, forwarded) = (server.trusted_proxies.clone(), server.forwarded);
        Self { trusted, forwarded, failing: LogThrottle::default() }
    }

    /// True if the other settings are the same.
    pub(crate) fn trusts_as(&self, other: &Self) -> bool {
        self.trusted == other.trusted && self.forwarded == other.forwarded
    }

    /// The trusted proxies of these networks.
    #[cfg(test)]
    pub fn trusting(networks: &[&str], forwarded: Forwarded) -> Self {
        let trusted = networks.iter().map(|network| network.parse().unwrap()).collect();
        Self { trusted, forwarded: Some(forwarded), failing: LogThrottle::default() }
    }

    /// Logs that a proxy's connection did not begin with a valid header of the PROXY protocol. The log is throttled.
    pub(super) fn log(&self, proxy: IpAddr, error: &io::Error) {
        if let Some(others) = self.failing.turn() {
            let why = with_sources(error);
            tracing::warn!(
                %proxy,
                why,
                others,
                "closed a connection of a trusted proxy without a header of the PROXY protocol; see `server.forwarded`"
            );
        }
    }

    /// True if the address belongs to a trusted proxy.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// True if connections from this address begin with a header of the PROXY protocol.
    pub(super) fn speaks_first(&self, peer: IpAddr) -> bool {
        self.forwarded == Some(Forwarded::ProxyProtocol) && self.trusts(peer)
    }

    /// The address of the client that sent a request over a connection of `peer`. A proxy's own request has no header,
    /// and its client is the proxy.
    ///
    /// # Errors
    /// If the header of a trusted proxy cannot be read. Its readable part may have been written by the caller.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, ProxyHeaderError> {
        let (name, read): (_, NodeReader) = match self.forwarded {
            Some(Forwarded::ForwardedFor) => ("x-forwarded-for", forwarded::addresses),
            Some(Forwarded::Forwarded) => ("forwarded", forwarded::elements),
            Some(Forwarded::ProxyProtocol) | None => return Ok(peer),
        };
        if !self.trusts(peer) {
            return Ok(peer);
        }
        let unclear = ProxyHeaderError(name);
        let mut nodes = Vec::new();
        for line in headers.get_all(name) {
            nodes.extend(read(line.to_str().map_err(|_| unclear)?).ok_or(unclear)?);
        }
        self.walk(peer, &nodes).ok_or(unclear)
    }

    /// The client: the nearest address that is not a trusted proxy, counted from the end of the list. The addresses
    /// before it are not trustworthy.
    fn walk(&self, peer: IpAddr, nodes: &[Node<'_>]) -> Option<IpAddr> {
        let mut client = peer;
        for node in nodes.iter().rev() {
            client = node.address()?;
            if !self.trusts(client) {
                break;
            }
        }
        Some(client)
    }
}

/// A function that reads the nodes in one line of a header. None: the line is malformed.
type NodeReader = fn(&str) -> Option<Vec<Node<'_>>>;

#[cfg(test)]
mod tests {
    use ::http::{HeaderName, HeaderValue};

    use super::*;

    fn proxies(forwarded: Forwarded) -> TrustedProxies {
        TrustedProxies::trusting(&["10.0.0.0/8", "2001:db8:1::/48", "::1/128"], forwarded)
    }

    fn client(forwarded: Forwarded, peer: &str, lines: &[&str]) -> Option<String> {
        let name = match forwarded {
            Forwarded::ForwardedFor => "x-forwarded-for",
            _ => "forwarded",
        };
        let line = |line: &&str| (HeaderName::from_static(name), HeaderValue::from_str(line).unwrap());
        let headers: HeaderMap = lines.iter().map(line).collect();
        let found = proxies(forwarded).client(peer.parse().unwrap(), &headers);
        found.ok().map(|address| address.to_string())
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_no_proxy() {
        for (peer, lines, expected) in [
            ("10.0.0.1", &["192.0.2.1"][..], Some("192.0.2.1")),
            ("::ffff:10.0.0.1", &["192.0.2.1"], Some("192.0.2.1")),
            ("10.0.0.1", &["6.6.6.6, 192.0.2.1"], Some("192.0.2.1")),
            ("10.0.0.1", &["garbage\"[, 192.0.2.1, 10.9.9.9"], Some("192.0.2.1")),
            ("10.0.0.1", &["6.6.6.6", "192.0.2.1,10.9.9.9"], Some("192.0.2.1")),
            ("10.0.0.1", &["192.0.2.1:4711"], Some("192.0.2.1")),
            ("10.0.0.1", &["2001:db8::7"], Some("2001:db8::7")),
            ("10.0.0.1", &["[2001:db8::7]"], Some("2001:db8::7")),
            ("10.0.0.1", &["[2001:db8::7]:80"], Some("2001:db8::7")),
            ("10.0.0.1", &["::ffff:192.0.2.1"], Some("192.0.2.1")),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], Some("10.0.0.3")),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            // Other peers are not trusted.
            ("192.0.2.9", &["6.6.6.6"], Some("192.0.2.9")),
            ("192.0.2.9", &["garbage"], Some("192.0.2.9")),
            // A trusted proxy's unreadable header names no client.
            ("10.0.0.1", &[""], None),
            ("10.0.0.1", &["unknown"], None),
            ("10.0.0.1", &["6.6.6.6, unknown"], None),
            ("10.0.0.1", &["6.6.6.6, unknown, 10.0.0.2"], None),
            ("10.0.0.1", &["6.6.6.6,"], None),
            ("10.0.0.1", &["6.6.6.6", ""], None),
            ("10.0.0.1", &["192.0.2.1:"], None),
            ("10.0.0.1", &["192.0.2.1:99999"], None),
            ("10.0.0.1", &["192.0.2.1:+80"], None),
            ("10.0.0.1", &["[192.0.2.1]"], None),
            ("10.0.0.1", &["[2001:db8::7"], None),
            ("10.0.0.1", &["192.0.2.01"], None),
            ("10.0.0.1", &["\"192.0.2.1\""], None),
        ] {
            assert_eq!(client(Forwarded::ForwardedFor, peer, lines).as_deref(), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn elements_of_rfc_7239_are_parsed_completely() {
        for (lines, expected) in [
            (&["for=192.0.2.1"][..], Some("192.0.2.1")),
            (&["For=\"192.0.2.1:80\";proto=https;by=203.0.113.43"], Some("192.0.2.1")),
            (&["for=6.6.6.6, for=\"[2001:db8::7]:80\""], Some("2001:db8::7")),
            (&["proto=http;for=192.0.2.1;host=\"a, b;for=6.6.6.6\""], Some("192.0.2.1")),
            (&["for=_hidden, for=192.0.2.1 , for=10.0.0.2"], Some("192.0.2.1")),
            (&["for=\"1\\92.0.2.1\""], Some("192.0.2.1")),
            (&["for=6.6.6.6", "for=192.0.2.1"], Some("192.0.2.1")),
            (&["for=_hidden"], None),
            (&["for=unknown"], None),
            (&["for=2001:db8::7"], None),
            (&["for=\"2001:db8::7"], None),
            // A quote that a caller has left open does not hide the proxy's own element.
            (&["for=6.6.6.6;a=\", for=192.0.2.1"], None),
            (&["for=6.6.6.6;a=\", for=\"192.0.2.1\""], None),
            (&["for=6.6.6.6;a=\"", "for=192.0.2.1"], None),
            (&["for=6.6.6.6;for=192.0.2.1"], None),
            (&["for=6.6.6.6, by=10.0.0.2"], None),
            (&["for = 192.0.2.1"], None),
            (&["for=192.0.2.1;"], None),
            (&["for=192.0.2.1,"], None),
            (&["192.0.2.1"], None),
            (&[""], None),
        ] {
            assert_eq!(client(Forwarded::Forwarded, "10.0.0.1", lines).as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn long_chains_are_read_in_linear_time() {
        let chain = |n: usize| vec!["for=\"[2001:db8:1::7]:80\";by=a"; n].join(", ");
        witgate_testing::growth::assert_linear("forwarded", 500, chain, |chain: String| {
            assert!(client(Forwarded::Forwarded, "10.0.0.1", &[&chain]).is_some());
        });
    }
}
