//! The view of a request that policies get.

use std::fmt;
use std::net::IpAddr;

use http::HeaderMap;
use witgate_plugin::{Identity, Principal, Transport};

use witgate_base::breaker::CallerDigest;

/// A request, and its caller after authentication. Policies see it through `services`, as far as they want and may.
pub trait Subject: fmt::Debug + Send + Sync {
    /// The upstream's name.
    fn upstream(&self) -> &str;

    /// The upstream's resource identifier.
    fn audience(&self) -> &str;

    /// The transport of the message.
    fn transport(&self) -> Transport;

    /// The address of the sender. None over stdio.
    fn peer(&self) -> Option<IpAddr>;

    /// The headers, without those that contain credentials.
    fn headers(&self) -> &HeaderMap;

    /// The arguments of the call, as JSON text.
    fn arguments(&self) -> Option<&str>;

    /// The `_meta` of the message, as JSON text.
    fn meta(&self) -> Option<&str>;

    /// The thumbprint of the client certificate, if it is valid at `now`, in seconds since the Unix epoch (`x5t#S256`
    /// of RFC 8705, section 3.1).
    fn certificate_thumbprint(&self, now: u64) -> Option<&str>;

    /// The thumbprint (RFC 7638) of the key that the sender has proven to have.
    fn dpop_thumbprint(&self) -> Option<&str>;

    /// The caller's identity, after authentication.
    fn identity(&self) -> Option<&Identity>;

    /// The principal for an authorizer, after authentication.
    fn principal(&self) -> Option<Principal<'_>>;

    /// The source to which a failure is attributed: the caller, or their network before authentication.
    fn source(&self) -> CallerDigest;
}
