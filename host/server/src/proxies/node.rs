//! A place that a request came through.

use std::net::IpAddr;

/// A place that a request came through, as it is written: an address, perhaps with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node<'a>(pub(super) std::borrow::Cow<'a, str>);

impl Node<'_> {
    /// None: it is none, `unknown` and obfuscated identifiers (RFC 7239, sections 6.2 and 6.3) included. Nobody could be
    /// given a share of anything by those.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let text = &*self.0;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(address.to_canonical());
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                (host.parse::<std::net::Ipv6Addr>().ok()?.into(), port)
            }
            None => {
                let end = text.find(':')?;
                let (host, port) = text.split_at_checked(end)?;
                (IpAddr::from(host.parse::<std::net::Ipv4Addr>().ok()?), port)
            }
        };
        is_port(port).then(|| host.to_canonical())
    }
}

/// Nothing, or a port with its colon.
fn is_port(text: &str) -> bool {
    let is_number =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    text.is_empty() || text.strip_prefix(':').is_some_and(is_number)
}
