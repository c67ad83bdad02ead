//! Proxies in front of the listener.

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
            match network(text) {
                Ok(network) => trusted.push(network),
                Err((message, help)) => {
                    self.error(&["server", "trusted_proxies", &index.to_string()], message, help);
                }
            }
        }
        trusted
    }
}

/// An address or a network. IPv4 addresses keep their form, in which the addresses of clients are compared.
fn network(text: &str) -> Result<IpNet, (String, String)> {
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
    if network.prefix_len() == 0 {
        let help = "name the proxies: a trusted sender can claim any address".to_owned();
        return Err((format!("with `{text}`, everybody would be trusted"), help));
    }
    Ok(network)
}
