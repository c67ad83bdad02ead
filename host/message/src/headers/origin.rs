//! Checks of `Host` and `Origin`: the protection against DNS rebinding (MCP "Streamable HTTP", "Security Warning").

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddrV4};

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Uri};
use url::Host;

use super::{SingleValue, single};
use crate::fault::MessageFault;
use witgate_base::zone::ANY_LABEL;

/// The hosts and origins that a request may name.
#[derive(Debug)]
pub struct AllowedNames {
    hosts: HashSet<String>,
    /// Zones, without their `*.`: they cover names with one label before them.
    zones: HashSet<String>,
    origins: HashSet<String>,
    /// Whole `Host` values that are accepted without parsing. Most requests have one of these.
    usual: Vec<String>,
}

impl AllowedNames {
    /// `hosts` are names or addresses without port, or `*.` before a name. `origins` have the form that browsers send.
    pub fn new<'a>(
        hosts: impl IntoIterator<Item = &'a str>,
        origins: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let tidy = |origin: &str| origin.trim_end_matches('/').to_ascii_lowercase();
        let bare = |host: &str| host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let (zones, hosts): (HashSet<_>, HashSet<_>) =
            hosts.into_iter().map(bare).partition(|host| host.starts_with(ANY_LABEL));
        Self {
            hosts,
            zones: zones.iter().filter_map(|zone| zone.strip_prefix(ANY_LABEL)).map(str::to_owned).collect(),
            origins: origins.into_iter().map(tidy).collect(),
            usual: Vec::new(),
        }
    }

    /// The same for a listener on `port`, so that usual requests need no parsing.
    pub fn on_port(mut self, port: u16) -> Self {
        self.usual = ["127.0.0.1", "localhost"].map(|host| format!("{host}:{port}")).into();
        self
    }

    /// Checks `Host`. `local` is the address of the connection's own end, if it is known.
    ///
    /// # Errors
    /// `ForbiddenHost`.
    pub fn check_host(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        local: Option<IpAddr>,
    ) -> Result<(), MessageFault> {
        let SingleValue::One(host) = single(headers, &HOST) else {
            return Err(MessageFault::ForbiddenHost);
        };
        if uri.authority().is_none() && self.usual.iter().any(|usual| usual == host) {
            return Ok(());
        }
        // A request in absolute form contains two hosts (RFC 9112 §3.2.2).
        let twice = uri.authority().is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(host));
        let name = name_of(host).ok_or(MessageFault::ForbiddenHost)?;
        if !twice && self.is_own(&name, local) { Ok(()) } else { Err(MessageFault::ForbiddenHost) }
    }

    /// Checks `Origin`. Only browsers send one. If `Host` is a loopback name, the same origin is accepted: it is a
    /// page that Witgate's own address served.
    ///
    /// # Errors
    /// `ForbiddenOrigin`.
    pub fn check_origin(&self, headers: &HeaderMap) -> Result<(), MessageFault> {
        let origin = match single(headers, &ORIGIN) {
            SingleValue::Absent => return Ok(()),
            SingleValue::One(origin) => origin.to_ascii_lowercase(),
            SingleValue::Bad => return Err(MessageFault::ForbiddenOrigin),
        };
        if self.origins.contains(&origin) || is_own_loopback(&origin, headers) {
            Ok(())
        } else {
            Err(MessageFault::ForbiddenOrigin)
        }
    }

    fn is_own(&self, name: &Host<String>, local: Option<IpAddr>) -> bool {
        if is_loopback(name) {
            return true;
        }
        match name {
            Host::Domain(name) => self.has(name.trim_end_matches('.')),
            Host::Ipv4(ip) => Some(IpAddr::V4(*ip)) == local || self.hosts.contains(&ip.to_string()),
            Host::Ipv6(ip) => Some(IpAddr::V6(*ip)) == local || self.hosts.contains(&ip.to_string()),
        }
    }

    /// As in certificates, `*` is one label (RFC 9525, section 6.3), because others may control names below it.
    fn has(&self, name: &str) -> bool {
        let below = name.split_once('.').filter(|(label, _)| !label.is_empty());
        self.hosts.contains(name) || below.is_some_and(|(_, zone)| self.zones.contains(zone))
    }
}

fn is_own_loopback(origin: &str, headers: &HeaderMap) -> bool {
    let SingleValue::One(host) = single(headers, &HOST) else { return false };
    let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    own.is_some_and(|own| own.eq_ignore_ascii_case(host))
        && name_of(host).is_some_and(|name| is_loopback(&name))
}

/// The name in `host` or `host:port`.
fn name_of(host: &str) -> Option<Host<String>> {
    // A fast path for the usual hosts of a local gateway, without the work for international names.
    if let Ok(address) = host.parse::<SocketAddrV4>() {
        return Some(Host::Ipv4(*address.ip()));
    }
    let authority: http::uri::Authority = host.parse().ok()?;
    if host.contains('@') {
        return None;
    }
    Host::parse(authority.host()).ok()
}

fn is_loopback(name: &Host<String>) -> bool {
    match name {
        Host::Domain(name) => name == "localhost" || name == "localhost.",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}
