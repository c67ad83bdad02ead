//! Origins of `allowed_origins` that no browser can use.

use std::net::IpAddr;

use url::{Host, Url};
use witgate_config::Transport;
use witgate_config::lint::LintCode;

use super::finding::{LintCheck, LintFinding};
use super::scene::LintScene;

pub(super) const CHECK: LintCheck = LintCheck {
    code: LintCode::UnusableOrigin,
    title: "an origin that no browser can use",
    why: "Pages of the origin cannot call, whatever is allowed, and the browser tells people only that the network \
          failed.",
    find,
};

/// The ports to which browsers do not connect (Fetch, "bad port").
const BAD_PORTS: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103,
    104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514,
    515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723,
    2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

fn find(scene: &LintScene) -> Vec<LintFinding> {
    let origins = scene.config.server.allowed_origins.iter().enumerate();
    let finding = |(index, origin): (usize, &String)| {
        let (why, fix) = fault(scene, origin)?;
        let place = scene.place(&["server", "allowed_origins", &index.to_string()]);
        let message = format!("no browser can use the origin `{origin}`: {why}");
        Some(LintFinding::new(origin, place.remark(&message, "cannot call"), fix))
    };
    origins.filter_map(finding).collect()
}

/// The reason why pages of an origin cannot call, and the fix.
fn fault(scene: &LintScene, origin: &str) -> Option<(String, &'static str)> {
    if scene.config.server.transport == Transport::Stdio {
        return Some((
            "Witgate speaks over standard input and output".to_owned(),
            "leave `allowed_origins` out",
        ));
    }
    let url = Url::parse(origin).ok()?;
    if !matches!(url.scheme(), "http" | "https") {
        let why = format!("pages of the scheme `{}` send `Origin: null`", url.scheme());
        return Some((why, "write an origin that begins with `https://`"));
    }
    if let Some(port) = url.port().filter(|port| BAD_PORTS.contains(port)) {
        return Some((
            format!("browsers do not connect to the port {port}"),
            "serve the page at another port",
        ));
    }
    let endpoints = scene.config.upstreams.iter().filter_map(|upstream| Url::parse(&upstream.resource).ok());
    let endpoints: Vec<_> = endpoints.collect();
    let is_refused = |endpoint: &Url| url.scheme() == "https" && is_open(endpoint);
    if !endpoints.is_empty() && endpoints.iter().all(is_refused) {
        let why = "a page from `https` may not call an endpoint at `http` (mixed content)".to_owned();
        return Some((why, "serve Witgate over TLS, and write the public URL into `server.resource`"));
    }
    let unreachable = endpoints.iter().filter_map(Url::port).find(|port| BAD_PORTS.contains(port));
    let port = unreachable?;
    Some((
        format!("browsers do not connect to the port {port} of the endpoint"),
        "let Witgate listen at another port",
    ))
}

/// True if the endpoint is plain HTTP on another machine.
fn is_open(endpoint: &Url) -> bool {
    let is_local = match endpoint.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    };
    endpoint.scheme() == "http" && !is_local
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{found, with_roles};

    fn faults(server: &str) -> Vec<String> {
        let text = format!("[server]\n{server}\n{}", with_roles("user = { allow = ['*'] }"));
        found(super::CHECK, &text, "{}").iter().map(|it| it.remark.to_string()).collect()
    }

    #[test]
    fn an_origin_whose_pages_cannot_call_is_found() {
        for (server, why) in [
            ("transport = 'stdio'\nallowed_origins = ['https://app.example.com']", "standard input"),
            ("allowed_origins = ['http://localhost:6000']", "port 6000"),
            ("allowed_origins = ['ftp://app.example.com']", "`Origin: null`"),
            (
                "listen = '0.0.0.0:8787'\nresource = 'http://mcp.example.com/mcp'\nallowed_origins = ['https://app.example.com']",
                "mixed content",
            ),
            (
                "listen = '127.0.0.1:6667'\nallowed_origins = ['http://localhost:3000']",
                "port 6667 of the endpoint",
            ),
        ] {
            let faults = faults(server);
            assert!(faults.len() == 1 && faults[0].contains(why), "{server}: {faults:?}");
        }
    }

    #[test]
    fn a_usable_origin_is_no_finding() {
        for server in [
            "allowed_origins = ['https://app.example.com', 'http://localhost:3000']",
            "listen = '0.0.0.0:8787'\nresource = 'https://mcp.example.com/mcp'\nallowed_origins = ['https://app.example.com']",
            "listen = '0.0.0.0:8787'\nresource = 'http://mcp.example.com/mcp'\nallowed_origins = ['http://app.example.com']",
        ] {
            assert!(faults(server).is_empty(), "{server}");
        }
    }
}
