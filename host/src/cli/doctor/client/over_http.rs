//! An entry with a URL: whether it leads to an endpoint of this Witgate, and shows what a policy reads.

use http::Uri;
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use url::{Host, Url};

use super::credential::{EntryText, absent, declares_authorization, headers_read, judged};
use super::entries::{ClientSettings, EntryUrl, ServerEntry};
use crate::cli::doctor::finding::CheckFinding;
use crate::cli::doctor::installation::Installation;
use crate::cli::init::client::ClientProgram;
use witgate_config::{Config, Transport, Upstream};
use witgate_message::headers::credentials::take;
use witgate_server::http::names;

/// Headers of HTTP and MCP, which are no credentials.
const OTHERS: [&str; 6] =
    ["accept", "content-type", "user-agent", "origin", "mcp-protocol-version", "mcp-session-id"];

pub(super) async fn examine(
    installation: &Installation,
    settings: &ClientSettings,
    entry: &ServerEntry,
    written: &EntryUrl,
) -> Vec<CheckFinding> {
    let config = &installation.config;
    let text = match EntryText::of(&written.url, &written.env, &installation.environment) {
        EntryText::Known(text) => text,
        EntryText::Asked | EntryText::Unset(_) => {
            return vec![CheckFinding::skip(format!(
                "the URL of `{}` has a variable that is not known here",
                entry.name
            ))];
        }
    };
    let Ok(url) = Url::parse(&text) else {
        return vec![
            CheckFinding::fail(format!("the URL of `{}` cannot be read", entry.name))
                .because("the client cannot call it")
                .fix(format!("write {}", urls(installation).join(" or "))),
        ];
    };
    if !is_ours(config, &url) {
        return vec![CheckFinding::skip(format!("`{}` is another server", entry.name))];
    }
    let mut findings = of_transport(config, settings, entry, written);
    findings.extend(of_url(installation, entry, &url));
    if let Some(upstream) = config.upstreams.iter().find(|upstream| upstream.path == url.path()) {
        findings.extend(of_headers(installation, upstream, entry, written).await);
    }
    findings
}

/// The URLs under which clients reach the endpoints.
pub(super) fn urls(installation: &Installation) -> Vec<String> {
    installation.config.upstreams.iter().map(|upstream| url(&installation.config, upstream)).collect()
}

/// The URL of an endpoint: that of its resource, if clients can call it.
fn url(config: &Config, upstream: &Upstream) -> String {
    match Url::parse(&upstream.resource) {
        Ok(resource) if resource.path() == upstream.path => resource.to_string(),
        _ => format!("{}://{}{}", scheme(config), config.server.listen, upstream.path),
    }
}

fn scheme(config: &Config) -> &'static str {
    if config.server.tls.is_some() { "https" } else { "http" }
}

/// True if the host and port are those of the listener, or the host is that of a resource.
fn is_ours(config: &Config, url: &Url) -> bool {
    let is_resource = config.upstreams.iter().any(|upstream| {
        Url::parse(&upstream.resource)
            .is_ok_and(|resource| resource.host() == url.host() && url.host().is_some())
    });
    let is_path = is_loopback(url) && config.upstreams.iter().any(|upstream| upstream.path == url.path());
    is_resource || is_path || is_listener(config, url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// True if the URL leads straight to the listener.
fn is_listener(config: &Config, url: &Url) -> bool {
    let listen = config.server.listen;
    let is_host = match url.host() {
        Some(Host::Ipv4(address)) => listen.ip() == address || listen.ip().is_unspecified(),
        Some(Host::Ipv6(address)) => listen.ip() == address || listen.ip().is_unspecified(),
        Some(Host::Domain(_)) | None => false,
    };
    let is_local = is_loopback(url) && (listen.ip().is_loopback() || listen.ip().is_unspecified());
    url.port_or_known_default() == Some(listen.port()) && (is_host || is_local)
}

fn of_transport(
    config: &Config,
    settings: &ClientSettings,
    entry: &ServerEntry,
    written: &EntryUrl,
) -> Vec<CheckFinding> {
    let name = &entry.name;
    let mut findings = Vec::new();
    if config.server.transport == Transport::Stdio {
        findings.push(
            CheckFinding::fail(format!("`{name}` calls a URL, and the configuration is for stdio"))
                .because("nothing listens there")
                .fix("set `transport = \"http\"` under `[server]`, or let the client start `witgate serve`"),
        );
    }
    if settings.program == Some(ClientProgram::Claude) && !written.is_by_proxy {
        findings.push(
            CheckFinding::fail(format!(
                "`{name}` has a URL, which Claude Desktop does not read in this file"
            ))
            .because("it only starts programs that are named here")
            .fix("start `witgate serve --transport stdio`, or call the URL by `npx mcp-remote URL`"),
        );
    }
    if written.transport.as_deref().is_some_and(|transport| transport.eq_ignore_ascii_case("sse")) {
        findings.push(
            CheckFinding::fail(format!("`{name}` has the transport `sse`"))
                .because("Witgate serves Streamable HTTP, which replaced HTTP+SSE")
                .fix("write `\"type\": \"http\"`"),
        );
    }
    findings
}

fn of_url(installation: &Installation, entry: &ServerEntry, url: &Url) -> Vec<CheckFinding> {
    let (config, name) = (&installation.config, &entry.name);
    let wanted = urls(installation).join(" or ");
    let refuse = |message: String, why: &str| {
        vec![CheckFinding::fail(message).because(why).fix(format!("write {wanted}"))]
    };
    if !config.upstreams.iter().any(|upstream| upstream.path == url.path()) {
        let paths: Vec<_> = config.upstreams.iter().map(|upstream| format!("`{}`", upstream.path)).collect();
        let message =
            format!("`{name}` calls the path `{}`; the endpoints are {}", url.path(), paths.join(", "));
        return refuse(message, "Witgate answers 404 there");
    }
    if !url.username().is_empty() || url.password().is_some() {
        let message = format!("the URL of `{name}` has a user name or a password");
        return refuse(message, "clients write URLs into their logs; Witgate reads credentials in headers");
    }
    if url.query().is_some() {
        let message = format!("the URL of `{name}` has a query");
        return refuse(
            message,
            "Witgate reads none, and refuses credentials there, because URLs are logged on the way",
        );
    }
    if is_listener(config, url) {
        if url.scheme() != scheme(config) {
            let message =
                format!("`{name}` calls `{}` where Witgate listens with `{}`", url.scheme(), scheme(config));
            return refuse(message, "the connection fails");
        }
    } else if !config.upstreams.iter().any(|upstream| is_resource(upstream, url)) {
        let origin = url.origin().ascii_serialization();
        let message = format!("`{name}` calls {origin}; Witgate listens on {}", config.server.listen);
        return refuse(message, "another program answers there, or none");
    }
    if !is_accepted_host(config, url) {
        let host = url.host_str().unwrap_or_default();
        return vec![
            CheckFinding::fail(format!("`{name}` calls the host `{host}`, which Witgate does not know"))
                .because("it refuses requests for unknown hosts, against DNS rebinding")
                .fix("add it to `allowed_hosts`")
                .at(installation.place(&["server", "allowed_hosts"])),
        ];
    }
    vec![CheckFinding::pass(format!("`{name}` calls {}", url.as_str()))]
}

/// True if scheme, host and port are those of the upstream's resource, at which a proxy may listen.
fn is_resource(upstream: &Upstream, url: &Url) -> bool {
    Url::parse(&upstream.resource).is_ok_and(|resource| resource.origin() == url.origin())
}

fn is_accepted_host(config: &Config, url: &Url) -> bool {
    let mut host = url.host_str().unwrap_or_default().to_owned();
    if let Some(port) = url.port() {
        host.push_str(&format!(":{port}"));
    }
    let Ok(host) = HeaderValue::try_from(host) else { return false };
    let headers = HeaderMap::from_iter([(HOST, host)]);
    names(&config.server, config.resources()).check_host(&Uri::from_static("/"), &headers, None).is_ok()
}

async fn of_headers(
    installation: &Installation,
    upstream: &Upstream,
    entry: &ServerEntry,
    written: &EntryUrl,
) -> Vec<CheckFinding> {
    let (config, name) = (&installation.config, &entry.name);
    let (mut findings, mut headers, mut shown) = (Vec::new(), HeaderMap::new(), None);
    let read = headers_read(config, upstream);
    for (header, value) in &written.headers {
        let is_read =
            read.as_ref().is_none_or(|read| read.iter().any(|one| one.eq_ignore_ascii_case(header)));
        if OTHERS.iter().any(|other| other.eq_ignore_ascii_case(header)) {
            continue;
        }
        if !is_read {
            let read = read.as_deref().unwrap_or_default().join(", ");
            findings.push(
                CheckFinding::warn(format!("`{name}` sends the header `{header}`, which no policy reads"))
                    .because("it is no credential here")
                    .fix(if read.is_empty() {
                        "leave it out".to_owned()
                    } else {
                        format!("send the credential in {read}")
                    }),
            );
            continue;
        }
        match EntryText::of(value, &written.env, &installation.environment) {
            EntryText::Asked => {
                findings.push(CheckFinding::skip(format!("the client asks for `{header}` of `{name}`")));
                return findings;
            }
            EntryText::Unset(variable) => {
                findings.push(
                    CheckFinding::warn(format!("`{header}` of `{name}` needs the variable `{variable}`, which is not set here"))
                        .because("without it, the calls of the client are refused")
                        .fix("set it where the client starts; programs of a desktop do not read the files of shells"),
                );
                return findings;
            }
            EntryText::Known(text) => {
                let parsed = (header.parse::<HeaderName>(), HeaderValue::try_from(text.as_str()));
                let (Ok(header), Ok(value)) = parsed else {
                    findings.push(
                        CheckFinding::fail(format!("`{header}` of `{name}` is no header"))
                            .because("the client cannot send it")
                            .fix("write it without line breaks and quotes"),
                    );
                    return findings;
                };
                headers.append(header, value);
                shown = Some(text);
            }
        }
    }
    findings.push(match shown {
        None => absent(config, upstream, name, "add `\"headers\": { \"Authorization\": \"Bearer KEY\" }`"),
        Some(text) => of_credential(installation, upstream, name, (headers, &text)).await,
    });
    findings
}

async fn of_credential(
    installation: &Installation,
    upstream: &Upstream,
    name: &str,
    (mut headers, text): (HeaderMap, &str),
) -> CheckFinding {
    // A scheme stands before a credential in `Authorization`, unless a policy declares this header as its own.
    let has_scheme = !declares_authorization(&installation.config, upstream);
    let names = headers.keys().filter(|name| **name != AUTHORIZATION || !has_scheme);
    let names: Vec<HeaderName> = names.cloned().collect();
    match take(&mut headers, names.iter()) {
        Ok(shown) => {
            let secret = text.strip_prefix("Bearer ").unwrap_or(text);
            let about = (&installation.environment, &installation.config);
            judged(about, &upstream.name, (name, secret), shown).await
        }
        Err(_) => CheckFinding::fail(format!("the credential of `{name}` has no scheme that Witgate reads"))
            .because("the calls of this client are refused")
            .fix("write `Bearer `, a blank and the key or token into `Authorization`"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::entries::EntryTarget;
    use super::*;
    use crate::cli::doctor::finding::FindingLevel;
    use crate::cli::doctor::installation::tests::installed_with;
    use crate::cli::key::now;
    use witgate_config::environment::Environment;
    use witgate_config::key_store::{KeyStore, NewKey};

    const KEYS: &str = "[server]\nresource = 'https://mcp.example.com'\n[upstreams.a]\nown_tools = true\n\
        [upstreams.b]\nown_tools = true\n[pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n[policies.keys]\n\
        kind = 'api-key'\nconfig.store = 'keys.toml'\n";

    /// The findings about an entry with this URL, transport and header. `KEY` in the header is a good key.
    async fn found(url: &str, transport: Option<&str>, header: Option<(&str, &str)>) -> Vec<CheckFinding> {
        let folder = tempfile::tempdir().unwrap();
        let store = KeyStore::at(folder.path().join("keys.toml"));
        let key = store.create(NewKey { name: "ci".to_owned(), ..NewKey::default() }, now()).unwrap();
        let keys = std::fs::read_to_string(store.path()).unwrap();
        let (_folder, installation) = installed_with(KEYS, &[("keys.toml", &keys)], Environment::default());
        let header = header.map(|(name, value)| (name.to_owned(), value.replace("KEY", key.text.reveal())));
        let url = EntryUrl {
            url: url.to_owned(),
            transport: transport.map(str::to_owned),
            headers: header.into_iter().collect(),
            env: BTreeMap::new(),
            is_by_proxy: false,
        };
        let settings = ClientSettings { file: "mcp.json".into(), program: None, entries: Vec::new() };
        let entry = ServerEntry { name: "x".to_owned(), line: 1, target: EntryTarget::Unknown };
        let findings = examine(&installation, &settings, &entry, &url).await;
        assert!(!format!("{findings:?}").contains(key.text.reveal()), "{findings:?}");
        findings
    }

    fn levels(findings: &[CheckFinding]) -> Vec<FindingLevel> {
        findings.iter().map(|finding| finding.level).collect()
    }

    #[tokio::test]
    async fn a_good_key_at_a_right_url_passes() {
        for url in ["https://mcp.example.com/a/mcp", "http://localhost:8787/b/mcp"] {
            for header in [("Authorization", "Bearer KEY"), ("x-api-key", "KEY")] {
                let findings = found(url, Some("http"), Some(header)).await;
                assert_eq!(levels(&findings), [FindingLevel::Pass, FindingLevel::Pass], "{findings:?}");
            }
        }
    }

    #[tokio::test]
    async fn each_fault_of_a_url_is_told() {
        for (url, said) in [
            ("https://mcp.example.com/mcp", "the endpoints are `/a/mcp`, `/b/mcp`"),
            ("https://localhost:8787/a/mcp", "calls `https` where Witgate listens with `http`"),
            ("http://localhost:9999/a/mcp", "Witgate listens on 127.0.0.1:8787"),
            ("http://mcp.example.com/a/mcp", "Witgate listens on"),
            ("https://mcp.example.com/a/mcp?key=1", "has a query"),
        ] {
            let findings = found(url, None, Some(("X-API-Key", "KEY"))).await;
            assert!(findings[0].message.contains(said), "{url}: {findings:?}");
            assert_eq!(findings[0].level, FindingLevel::Fail);
        }
        assert_eq!(levels(&found("https://other.example.com/mcp", None, None).await), [FindingLevel::Skip]);
    }

    #[tokio::test]
    async fn each_fault_of_a_credential_is_told() {
        let url = "https://mcp.example.com/a/mcp";
        for (header, said) in [
            (None, "shows no credential"),
            (Some(("X-API-Key", "KEYx")), "unknown-key"),
            (Some(("Authorization", "KEY")), "has no scheme"),
            (Some(("X-Token", "KEY")), "which no policy reads"),
            (Some(("X-API-Key", "${NOWHERE}")), "`NOWHERE`, which is not set here"),
        ] {
            let findings = found(url, None, header).await;
            assert!(findings[1].message.contains(said), "{header:?}: {findings:?}");
        }
        let findings = found(url, Some("sse"), None).await;
        assert!(findings[0].message.contains("transport `sse`"), "{findings:?}");
    }
}
