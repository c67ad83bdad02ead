//! Proxies in front of the listener, and peers that may not connect.

use std::net::IpAddr;

use ipnet::IpNet;

use super::resolver::Resolver;
use crate::{Forwarded, raw};

impl From<raw::Forwarded> for Forwarded {
    fn from(written: raw::Forwarded) -> Self {
        match written {
            raw::Forwarded::XForwardedFor => Self::ForwardedFor,
            raw::Forwarded::Forwarded => Self::Forwarded,
            raw::Forwarded::ProxyProtocol => Self::ProxyProtocol,
        }
    }
}

impl Resolver<'_> {
    pub(super) fn trusted_proxies(&mut self, server: &raw::Server) -> Vec<IpNet> {
        let written = &server.trusted_proxies;
        if !written.is_empty() && server.forwarded.is_none() {
            let help = "write `forwarded = \"x-forwarded-for\"`, `\"forwarded\"` or `\"proxy-protocol\"`, whichever your proxies set and accept from nobody else";
            self.error(
                &["server", "trusted_proxies"],
                "`forwarded` is missing, which says how these proxies name the sender",
                help,
            );
        }
        if written.is_empty() && server.forwarded.is_some() {
            let help = "write the addresses of your proxies as `trusted_proxies`, such as `[\"10.0.0.0/8\"]`";
            self.error(&["server", "forwarded"], "nothing says which proxies are trusted", help);
        }
        let mut trusted = Vec::with_capacity(written.len());
        for (index, text) in written.iter().enumerate() {
            match network(text).and_then(not_everybody) {
                Ok(network) => trusted.push(network),
                Err((message, help)) => {
                    self.error(&["server", "trusted_proxies", &index.to_string()], message, help);
                }
            }
        }
        trusted
    }

    pub(super) fn denied_peers(&mut self, server: &raw::Server) -> Vec<IpNet> {
        if !server.deny_peers.is_empty() && matches!(server.transport, Some(raw::Transport::Stdio)) {
            let help = "leave it out: the client has started Witgate itself";
            self.warning(&["server", "deny_peers"], "over stdio there are no peers", help);
        }
        let mut denied = Vec::with_capacity(server.deny_peers.len());
        for (index, text) in server.deny_peers.iter().enumerate() {
            match network(text) {
                Ok(network) => denied.push(network),
                Err((message, help)) => {
                    self.error(&["server", "deny_peers", &index.to_string()], message, help);
                }
            }
        }
        denied
    }
}

/// A message, and what to do.
type Advice = (String, String);

/// An address or a network. IPv4 addresses keep their form, in which the addresses of clients are compared.
///
/// # Errors
/// With what is wrong with the text, and what to do.
pub fn network(text: &str) -> Result<IpNet, Advice> {
    let help = "write an address such as `10.0.0.1`, or a network such as `10.0.0.0/8`".to_owned();
    let network = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>());
    let network = network.map_err(|_| (format!("`{text}` is neither an address nor a network"), help))?;
    if network.addr().to_canonical() != network.addr() {
        return Err((format!("`{text}` is IPv4 within IPv6"), "write it as IPv4".to_owned()));
    }
    if network.trunc() != network {
        return Err((
            format!("`{text}` is not the beginning of a network"),
            format!("write `{}`", network.trunc()),
        ));
    }
    Ok(network)
}

fn not_everybody(network: IpNet) -> Result<IpNet, Advice> {
    if network.prefix_len() == 0 {
        let help = "name the proxies: a trusted sender can claim any address".to_owned();
        return Err((format!("with `{network}`, everybody would be trusted"), help));
    }
    Ok(network)
}
