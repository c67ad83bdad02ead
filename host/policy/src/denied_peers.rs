//! Networks that an operator denies while Witgate runs, besides those of the configuration.

use std::net::IpAddr;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use parking_lot::Mutex;

use witgate_base::networks::Networks;

/// Maximum number of networks that operators deny.
const MOST: usize = 100_000;

/// The networks that operators have denied. They are forgotten at the end of the process.
#[derive(Debug, Default)]
pub struct DeniedPeers {
    written: Mutex<Vec<IpNet>>,
    networks: ArcSwap<Networks>,
}

/// The reason why a network is not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerDenialError {
    /// It is there already.
    #[error("{0} is denied already")]
    Repeated(IpNet),
    /// There are too many networks.
    #[error("{MOST} networks are denied, and there is no room for more: deny larger networks in their place")]
    Full,
}

impl DeniedPeers {
    /// True if an operator has denied a network that contains the address.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.networks.load().contain(address)
    }

    /// Denies a network.
    ///
    /// # Errors
    /// If it is denied already, or there are too many.
    pub fn deny(&self, network: IpNet) -> Result<(), PeerDenialError> {
        let mut written = self.written.lock();
        if written.contains(&network) {
            return Err(PeerDenialError::Repeated(network));
        }
        if written.len() >= MOST {
            return Err(PeerDenialError::Full);
        }
        written.push(network);
        self.networks.store(Networks::new(&written).into());
        Ok(())
    }

    /// Ends the denial of a network. False: no operator has denied exactly this one.
    pub fn allow(&self, network: IpNet) -> bool {
        let mut written = self.written.lock();
        let Some(place) = written.iter().position(|other| *other == network) else { return false };
        written.remove(place);
        self.networks.store(Networks::new(&written).into());
        true
    }

    /// The networks, in the order in which they were denied.
    pub fn all(&self) -> Vec<IpNet> {
        self.written.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_denied_until_it_is_allowed_again() {
        let (denied, network) = (DeniedPeers::default(), "192.0.2.0/24".parse().unwrap());
        let is_denied = || denied.contain("192.0.2.7".parse().unwrap());
        assert!(!is_denied());
        assert_eq!(denied.deny(network), Ok(()));
        assert_eq!(denied.deny(network), Err(PeerDenialError::Repeated(network)));
        assert!(is_denied());
        assert!(!denied.allow("192.0.2.7/32".parse().unwrap()));
        assert!(denied.allow(network) && !is_denied() && denied.all().is_empty());
    }
}
