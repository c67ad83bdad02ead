//! The host names of a listener. Requests with other names are refused and logged, so that operators find a name that
//! they have forgotten to allow.

use std::net::IpAddr;

use ::http::header::HOST;
use ::http::{HeaderMap, Uri};

use witgate_base::printable::clean;
use witgate_message::fault::MessageFault;
use witgate_message::headers::origin::AllowedNames;
use witgate_runtime::log::throttle::LogThrottle;

/// The names of one listener.
#[derive(Debug)]
pub struct Hosts {
    names: AllowedNames,
    /// The name of the setting with the listener's address.
    listener: &'static str,
    refusing: LogThrottle,
}

impl Hosts {
    /// The accepted names of one listener.
    pub fn new(names: AllowedNames, listener: &'static str) -> Self {
        Self { names, listener, refusing: LogThrottle::default() }
    }

    /// The names themselves.
    pub fn names(&self) -> &AllowedNames {
        &self.names
    }

    /// Checks `Host`. Logs refused names, throttled.
    ///
    /// # Errors
    /// `ForbiddenHost`.
    pub fn check(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        local: Option<IpAddr>,
        peer: Option<IpAddr>,
    ) -> Result<(), MessageFault> {
        self.names.check_host(uri, headers, local).inspect_err(|_| self.log(uri, headers, peer))
    }

    fn log(&self, uri: &Uri, headers: &HeaderMap, peer: Option<IpAddr>) {
        let Some(others) = self.refusing.turn() else { return };
        let mut hosts = headers.get_all(HOST).iter().map(|host| host.as_bytes()).collect::<Vec<_>>();
        hosts.extend(uri.authority().map(|authority| authority.as_str().as_bytes()));
        let host = String::from_utf8_lossy(&hosts.join(&b", "[..])).into_owned();
        tracing::warn!(
            host = clean(&host),
            peer = peer.map(tracing::field::display),
            listener = self.listener,
            others,
            "refused a request with an unknown `Host`; to accept it, add it to `server.allowed_hosts`"
        );
    }
}
