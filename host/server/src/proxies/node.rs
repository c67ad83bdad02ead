//! A node of a proxy's header: an address on the way of a request.

use std::net::IpAddr;

/// A node as it is written in the header: an address, perhaps with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node<'a>(pub(super) std::borrow::Cow<'a, str>);

impl Node<'_> {
    /// The address of the node. None: the node is not an address, but malformed, `unknown` or an obfuscated identifier
    /// (RFC 7239, sections 6.2 and 6.3). Such a node cannot be given a share.
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

/// True if the text is empty, or a port after a colon.
fn is_port(text: &str) -> bool {
    let is_number =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    text.is_empty() || text.strip_prefix(':').is_some_and(is_number)
}
