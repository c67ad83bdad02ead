//! `[server]`.

use std::net::SocketAddr;
use std::time::Duration;

use url::Url;

use super::resolver::Resolver;
use crate::{
    AuditOverflow, AuditWrite, CombinedEndpoint, ControlSocket, Extension, Forwarded, Server, Transport,
    Upstream, raw,
};
use witgate_base::zone::ANY_LABEL;

/// The default address. Only this machine can reach it, and no common server uses its port.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8787);

/// Relative to the configuration.
pub(super) const DEFAULT_CONTROL: &str = "witgate.sock";

/// Relative to the configuration.
pub(super) const DEFAULT_STATE: &str = "witgate.state";

/// The live generation, and as many as a person remembers.
const DEFAULT_KEEP: usize = 5;

/// More than most servers ever have; each takes some ten kilobytes.
const DEFAULT_CONNECTIONS: usize = 10_000;

/// Sixteen messages of the largest size.
const DEFAULT_REQUEST_MEMORY_MIB: u64 = 64;

/// Eight of the largest messages for a single caller who does not read.
const DEFAULT_ANSWER_MEMORY_MIB: u64 = 256;

/// The default of the MCP SDKs.
const DEFAULT_REQUEST_MIB: u64 = 4;

/// Shorter than the 10 seconds after which Docker kills a container.
const DEFAULT_GRACE_S: u64 = 8;

/// The longest path that fits into `sockaddr_un` with its closing zero and the suffix of the temporary name: 103 bytes
/// on Linux, 99 on macOS.
const LONGEST_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 103 } else { 99 };

impl Server {
    /// The defaults for a transport.
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            transport,
            listen: DEFAULT_LISTEN,
            tls: None,
            dpop_nonces: false,
            authorization_servers: Vec::new(),
            extensions: Vec::new(),
            advertise_auth: false,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            forwarded: None,
            admin_listen: None,
            control: None,
            shutdown_grace: Duration::from_secs(DEFAULT_GRACE_S),
            state: None,
            keep_generations: DEFAULT_KEEP,
            max_connections: DEFAULT_CONNECTIONS,
            max_connections_per_peer: None,
            request_memory: mib(DEFAULT_REQUEST_MEMORY_MIB),
            answer_memory: mib(DEFAULT_ANSWER_MEMORY_MIB),
            max_request: mib(DEFAULT_REQUEST_MIB),
            audit_overflow: AuditOverflow::default(),
            audit_write: AuditWrite::default(),
        }
    }
}

impl From<raw::Extension> for Extension {
    fn from(written: raw::Extension) -> Self {
        match written {
            raw::Extension::OauthClientCredentials => Self::OauthClientCredentials,
            raw::Extension::EnterpriseManagedAuthorization => Self::EnterpriseManagedAuthorization,
        }
    }
}

impl Resolver<'_> {
    pub(super) fn server(&mut self, server: &raw::Server) -> Option<Server> {
        let transport = match server.transport {
            Some(raw::Transport::Stdio) => Transport::Stdio,
            Some(raw::Transport::Http) | None => Transport::Http,
        };
        let resolved = Server {
            listen: listen(server),
            tls: self.tls(server),
            dpop_nonces: server.dpop.nonces,
            authorization_servers: self.authorization_servers(server),
            extensions: server.extensions.iter().map(|&extension| extension.into()).collect(),
            advertise_auth: server.advertise_auth.unwrap_or(false),
            allowed_origins: self.allowed_origins(server),
            allowed_hosts: self.allowed_hosts(server),
            trusted_proxies: self.trusted_proxies(server),
            forwarded: server.forwarded.map(Forwarded::from),
            admin_listen: server.admin_listen.map(|address| address.0),
            control: self.control(server),
            shutdown_grace: Duration::from_secs(server.shutdown_grace_s.unwrap_or(DEFAULT_GRACE_S)),
            state: Some(self.path(server.state.as_deref().unwrap_or(DEFAULT_STATE))),
            keep_generations: server
                .keep_generations
                .map_or(DEFAULT_KEEP, |keep| usize::try_from(keep).unwrap_or(usize::MAX)),
            max_connections: server.max_connections.map_or(DEFAULT_CONNECTIONS, count),
            max_connections_per_peer: server.max_connections_per_peer.map(count),
            request_memory: mib(server.request_memory_mib.unwrap_or(DEFAULT_REQUEST_MEMORY_MIB)),
            answer_memory: mib(server.answer_memory_mib.unwrap_or(DEFAULT_ANSWER_MEMORY_MIB)),
            max_request: mib(server.max_request_mib.unwrap_or(DEFAULT_REQUEST_MIB)),
            audit_overflow: match server.audit_overflow {
                None | Some(raw::AuditOverflow::Count) => AuditOverflow::Count,
                Some(raw::AuditOverflow::Deny) => AuditOverflow::Deny,
            },
            audit_write: match server.audit_write {
                None | Some(raw::AuditWrite::Batched) => AuditWrite::Batched,
                Some(raw::AuditWrite::BeforeAnswer) => AuditWrite::BeforeAnswer,
            },
            ..Server::new(transport)
        };
        self.admin_apart(&resolved);
        self.requests_fit(&resolved);
        self.open_without_resource(server, &resolved);
        Some(resolved)
    }

    /// Adds the hosts of the resources, because clients use the published URLs.
    pub(super) fn with_resource_hosts(
        &self,
        mut server: Server,
        upstreams: &[Upstream],
        endpoints: &[CombinedEndpoint],
    ) -> Server {
        let resources = upstreams.iter().map(|upstream| &upstream.resource);
        let resources = resources.chain(endpoints.iter().map(|endpoint| &endpoint.resource));
        let hosts = resources.filter_map(|resource| Some(Url::parse(resource).ok()?.host_str()?.to_owned()));
        server.allowed_hosts.extend(hosts);
        server.allowed_hosts.sort();
        server.allowed_hosts.dedup();
        server
    }

    fn authorization_servers(&mut self, server: &raw::Server) -> Vec<String> {
        for (index, issuer) in server.authorization_servers.iter().enumerate() {
            self.url(&["server", "authorization_servers", &index.to_string()], issuer);
        }
        server.authorization_servers.clone()
    }

    fn allowed_origins(&mut self, server: &raw::Server) -> Vec<String> {
        let origins = server.allowed_origins.iter().enumerate();
        let resolve = |(index, origin): (usize, &String)| {
            self.origin(&["server", "allowed_origins", &index.to_string()], origin)
        };
        origins.filter_map(resolve).collect()
    }

    fn allowed_hosts(&mut self, server: &raw::Server) -> Vec<String> {
        let mut hosts = Vec::with_capacity(server.allowed_hosts.len());
        for (index, host) in server.allowed_hosts.iter().enumerate() {
            match allowed_host(host) {
                Ok(host) => hosts.push(host),
                Err((message, help)) => {
                    self.error(&["server", "allowed_hosts", &index.to_string()], message, help);
                }
            }
        }
        hosts
    }

    fn control(&mut self, server: &raw::Server) -> Option<ControlSocket> {
        let path = self.path(server.control.as_deref().unwrap_or(DEFAULT_CONTROL));
        if path.as_os_str().len() <= LONGEST_SOCKET_PATH {
            return Some(ControlSocket { path, is_given: server.control.is_some() });
        }
        let message = format!("the path of the control socket is longer than {LONGEST_SOCKET_PATH} bytes");
        let help = "set `server.control` to a shorter path; until then `witgate plugin list` does not work";
        match server.control {
            Some(_) => self.error(&["server", "control"], message, help),
            None => self.warning(&["server"], message, help),
        }
        None
    }

    fn admin_apart(&mut self, server: &Server) {
        let Some(admin) = server.admin_listen else { return };
        let any = admin.ip().is_unspecified() || server.listen.ip().is_unspecified();
        let same = admin.port() == server.listen.port() && (any || admin.ip() == server.listen.ip());
        if same && admin.port() != 0 && server.transport == Transport::Http {
            let message = "`admin_listen` and `listen` are the same address";
            let help = "health and metrics must not be public: give `admin_listen` another port";
            self.error(&["server", "admin_listen"], message, help);
        }
    }

    /// One address may use half of the memory, so a larger message would never be accepted.
    fn requests_fit(&mut self, server: &Server) {
        if server.transport == Transport::Http && server.max_request > server.request_memory / 2 {
            let message =
                "a message of this size would be refused: it is more than half of `request_memory_mib`";
            let help = format!(
                "set `request_memory_mib` to {} at least",
                (server.max_request >> 20).saturating_mul(2)
            );
            self.error(&["server", "max_request_mib"], message, help);
        }
    }

    /// One party may use half of the memory, so a larger answer would never be passed on.
    pub(super) fn answers_fit(&mut self, server: &Server, upstreams: &[Upstream]) {
        for upstream in upstreams.iter().filter(|upstream| upstream.max_message > server.answer_memory / 2) {
            let message = "a message of this size would be refused: it is more than half of \
                           `server.answer_memory_mib`";
            let help = format!(
                "set `answer_memory_mib` to {} at least",
                (upstream.max_message >> 20).saturating_mul(2)
            );
            self.error(&["upstreams", &upstream.name, "max_message_mib"], message, help);
        }
    }

    fn open_without_resource(&mut self, written: &raw::Server, server: &Server) {
        let open = server.transport == Transport::Http && !server.listen.ip().is_loopback();
        if open && written.resource.is_none() {
            let message = "other machines may call, and `server.resource` does not say under which URL";
            let help = "set `resource` to the public URL, such as `https://mcp.example.com/mcp`; tokens \
                        have to name it as their audience";
            self.warning(&["server", "listen"], message, help);
        }
    }

    /// An `http` or `https` URL without superfluous parts.
    pub(super) fn url(&mut self, at: &[&str], text: &str) -> Option<Url> {
        match check_url(text) {
            Ok(url) => Some(url),
            Err(message) => {
                self.error(at, message, "write a URL such as `https://mcp.example.com/mcp`");
                None
            }
        }
    }

    /// A URL that is only an origin.
    pub(super) fn origin(&mut self, at: &[&str], text: &str) -> Option<String> {
        let url = Url::parse(text).ok();
        let origin = url.filter(has_one_host).map(|url| url.origin().ascii_serialization());
        if origin.is_some() && origin.as_deref() == text.strip_suffix('/').or(Some(text)) {
            return origin;
        }
        let help = match origin {
            Some(origin) if origin != "null" => format!("write `{origin}`"),
            _ => "write scheme, host and port, such as `https://app.example.com`; `*` is not possible"
                .to_owned(),
        };
        self.error(at, format!("`{}` is not an origin", masked(text)), help);
        None
    }
}

fn count(written: u64) -> usize {
    usize::try_from(written).unwrap_or(usize::MAX)
}

pub(super) fn mib(written: u64) -> usize {
    count(written).saturating_mul(1 << 20)
}

/// A host in the form of requests, or `*.` before one.
fn allowed_host(written: &str) -> Result<String, (String, &'static str)> {
    const HELP: &str = "write a name such as `mcp.example.com`, without scheme, port and path";
    if written == "*" {
        let message = "with `*`, any page in a browser could call Witgate, by a host name of its own that leads to this machine (DNS rebinding)";
        return Err((
            message.to_owned(),
            "write each name that clients use; `*.example.com` is each name of that zone",
        ));
    }
    let (star, name) = match written.strip_prefix(ANY_LABEL) {
        Some(zone) => (ANY_LABEL, zone),
        None => ("", written),
    };
    let host = url::Host::parse(name).map_err(|_| (format!("`{written}` is not a host name"), HELP))?;
    let is_zone = matches!(&host, url::Host::Domain(zone) if zone.trim_end_matches('.').contains('.'));
    if name.contains('*') {
        let help = "`*` stands for one whole label, the first one: `*.example.com`";
        return Err((format!("`{written}` has a `*` in the wrong place"), help));
    }
    if !star.is_empty() && !is_zone {
        let message = format!("others have names in the zone `{written}`, too");
        return Err((message, "write the name of your own zone after `*.`, such as `*.example.com`"));
    }
    Ok(format!("{star}{host}"))
}

pub(super) fn listen(server: &raw::Server) -> SocketAddr {
    server.listen.map_or(DEFAULT_LISTEN, |address| address.0)
}

/// The part of a URL that cannot contain a password, for messages.
fn masked(url: &str) -> &str {
    if url.contains('@') { "…" } else { url }
}

/// False if the host is missing, or contains a `*`, which no name has.
fn has_one_host(url: &Url) -> bool {
    url.host_str().is_some_and(|host| !host.contains('*'))
}

pub(super) fn check_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`{}` is not a URL: {error}", masked(text)))?;
    if !matches!(url.scheme(), "http" | "https") || !has_one_host(&url) {
        return Err(format!("`{}` is not an http or https URL", masked(text)));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("this URL contains a user name or a password".to_owned());
    }
    if url.fragment().is_some() {
        return Err(format!("`{text}` has a fragment (`#…`)"));
    }
    Ok(url)
}
