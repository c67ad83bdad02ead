//! The permitted addresses of connections.

use std::net::IpAddr;

use url::Url;

/// The addresses that an origin may resolve to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only public ones, for origins that were granted to a plugin.
    Public,
    /// Private and loopback ones as well, for endpoints in the operator's settings. Link-local addresses, where clouds
    /// have their metadata, are never permitted.
    Private,
}

/// The error for a name without a permitted address.
#[derive(Debug, thiserror::Error)]
#[error("the host resolves only to disallowed (private or link-local) addresses")]
pub(super) struct RefusedAddress;

/// True if a connection was refused because of its destination.
pub fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        error.is::<RefusedAddress>()
            || error
                .downcast_ref::<std::io::Error>()
                .and_then(|io| io.get_ref())
                .is_some_and(|inner| inner.is::<RefusedAddress>())
    })
}

/// The address in a URL, which needs no resolution.
pub(crate) fn literal_address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        url::Host::Ipv4(address) => Some(address.into()),
        url::Host::Ipv6(address) => Some(address.into()),
        url::Host::Domain(_) => None,
    }
}

impl Reach {
    /// True if connections to the address in a URL are permitted, or it has a name, whose addresses are checked later.
    pub fn covers_url(self, url: &Url) -> bool {
        literal_address(url).is_none_or(|address| self.covers(address))
    }

    /// True if connections to an address are permitted.
    pub fn covers(self, address: IpAddr) -> bool {
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
        // The second address is the metadata service of one cloud.
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
                // NAT64 and 6to4 contain an IPv4 address; the range for documentation belongs to nobody.
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
    fn cloud_metadata_addresses_are_never_reachable() {
        for address in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254"] {
            assert!(!Reach::Private.covers(address.parse().expect("an address")), "{address}");
        }
        assert!(Reach::Private.covers("127.0.0.1".parse().expect("an address")));
    }
}
