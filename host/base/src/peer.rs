//! Senders, for the shares of bounded tables.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A sender, for shares: an IPv4 address, or the /64 network of an IPv6 address, which one customer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer(IpAddr);

/// An IPv4 address, or a network such as `2001:db8::/64`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

/// The part of an IPv6 address that names a network.
const NETWORK: u128 = !0 << 64;

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        // A socket for both protocols sees an IPv4 client as `::ffff:a.b.c.d`.
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Peer;

    #[test]
    fn an_ipv6_network_and_an_ipv4_address_are_one_sender_each() {
        let peer = |text: &str| Peer::from(text.parse::<std::net::IpAddr>().unwrap());
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:0:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_eq!(peer("192.0.2.1"), peer("::ffff:192.0.2.1"));
    }
}
