//! Sets of addresses and networks.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks, for fast look-ups. IPv4 addresses within IPv6 count as IPv4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// Without overlaps, in order.
    all: Vec<IpNet>,
}

impl Networks {
    /// The set of these networks.
    pub fn new(networks: &[IpNet]) -> Self {
        let mut all = IpNet::aggregate(&networks.to_vec());
        all.sort_unstable();
        Self { all }
    }

    /// The networks, without overlaps.
    pub fn all(&self) -> &[IpNet] {
        &self.all
    }

    /// True if one of the networks contains the address.
    pub fn contain(&self, address: IpAddr) -> bool {
        if self.all.is_empty() {
            return false;
        }
        let address = address.to_canonical();
        let after = self.all.partition_point(|network| network.network() <= address);
        after.checked_sub(1).and_then(|place| self.all.get(place)).is_some_and(|last| last.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_overlapping_networks() {
        let networks = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "2001:db8::/32", "192.0.2.8/31"];
        let networks = Networks::new(&networks.map(|text| text.parse().unwrap()));
        for (address, is_in) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("192.0.2.7", true),
            ("::ffff:192.0.2.9", true),
            ("192.0.2.10", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
        ] {
            assert_eq!(networks.contain(address.parse().unwrap()), is_in, "{address}");
        }
        assert!(!Networks::default().contain("10.0.0.1".parse().unwrap()));
        assert!(Networks::new(&["0.0.0.0/0".parse().unwrap()]).contain("10.0.0.1".parse().unwrap()));
    }
}
