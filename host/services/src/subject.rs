//! The request at hand, as far as policies may see it.

use std::fmt;
use std::net::IpAddr;

use http::HeaderMap;
use witgate_plugin::{Identity, Principal, Transport};

use witgate_base::breaker::CallerDigest;

/// A request, and its caller once they are known. Policies see it through `services`, as far as they want and may.
pub trait Subject: fmt::Debug + Send + Sync {
    /// The upstream's name.
    fn upstream(&self) -> &str;

    /// The upstream's resource identifier.
    fn audience(&self) -> &str;

    /// The transport of the message.
    fn transport(&self) -> Transport;

    /// The address of the sender. None over stdio.
    fn peer(&self) -> Option<IpAddr>;

    /// The headers, without those that carry credentials.
    fn headers(&self) -> &HeaderMap;

    /// The arguments of the call, as JSON text.
    fn arguments(&self) -> Option<&str>;

    /// The `_meta` of the message, as JSON text.
    fn meta(&self) -> Option<&str>;

    /// The thumbprint of the client certificate, if it is valid at `now`, in seconds since the Unix epoch (`x5t#S256`
    /// of RFC 8705, section 3.1).
    fn certificate_thumbprint(&self, now: u64) -> Option<&str>;

    /// The thumbprint (RFC 7638) of the key that the sender has proven to hold.
    fn dpop_thumbprint(&self) -> Option<&str>;

    /// The caller's identity, once it is known.
    fn identity(&self) -> Option<&Identity>;

    /// The caller as an authorizer sees them, once they are known.
    fn principal(&self) -> Option<Principal<'_>>;

    /// The source that a failure counts for: the caller, or their network as long as nobody has proved who they are.
    fn source(&self) -> CallerDigest;
}
