//! `[upstreams]`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use witgate_plugin::{OFFLINE_ACCESS, is_scope};

use super::identity::IdentityContext;
use super::resolver::{Presence, Resolver};
use super::server::{listen, mib};
use crate::credentials::{CredentialSettings, UpstreamCredentials};
use crate::identity::IdentitySettings;
use crate::raw::{self, OwnToolChoice, UpstreamText, UpstreamTransport};
use crate::shape::listed;
use crate::{Denials, Eras, Pipeline, Policy, ResourceDescription, Signing, Upstream, UpstreamTarget};
use witgate_base::cause::Cause;

/// The default timeout of the MCP SDKs.
const DEFAULT_TIMEOUT_S: u64 = 60;

/// The largest known lists of tools have some hundred kilobytes; a resource of 12 MB in base64 fits.
pub(super) const DEFAULT_MESSAGE_MIB: u64 = 16;

impl Resolver<'_> {
    pub(super) fn upstreams(
        &mut self,
        file: &raw::File,
        policies: &BTreeMap<String, Policy>,
        signing: Option<&Signing>,
        credentials: &BTreeMap<String, Arc<CredentialSettings>>,
    ) -> Vec<Upstream> {
        self.at_least_one(file);
        let common = file.pipeline.as_ref().map(|written| self.pipeline(&["pipeline"], written, policies));
        let names = self.document.keys(&["upstreams"]);
        let alone = names.len() <= 1;
        let servers_about = self.servers_about(&file.server);
        let around = IdentityContext { policies, signing, is_signing: file.signing.is_some() };
        let resolve = |(name, written): (&String, &raw::Upstream)| {
            let pipeline = self.pipeline_of(name, written, common.as_ref(), policies);
            let about = self.own_about(&file.server, name, written).or(&servers_about);
            let identity = self.identity(name, written, &pipeline, &around);
            let credentials = self.upstream_credentials(name, written, credentials, &identity);
            let upstream = self.upstream(file, name, written, pipeline, alone);
            self.connects_safely(file, &upstream, &credentials);
            Upstream { about, identity, credentials, ..upstream }
        };
        let upstreams: Vec<_> = file.upstreams.iter().map(resolve).collect();
        self.paths_apart(&upstreams);
        self.connect_the_same_callers(&upstreams);
        self.signing_is_used(file);
        upstreams
    }

    fn at_least_one(&mut self, file: &raw::File) {
        let names = self.document.keys(&["upstreams"]);
        let help = "add one, for example\n[upstreams.everything]\ncommand = [\"npx\", \"-y\", \
                    \"@modelcontextprotocol/server-everything\"]\nor, for Witgate's own small \
                    tools,\n[upstreams.own]\nown_tools = true";
        if names.is_empty() {
            self.error(&["upstreams"], "there is no upstream: nothing to protect", help);
        }
        if file.endpoints.len() == 1 {
            return;
        }
        if let (Some(raw::Transport::Stdio), [_, second, ..]) = (file.server.transport, names.as_slice()) {
            let message = "over stdio there is one upstream, because there is one stream";
            let help = "leave one, join them in one `[endpoints.NAME]`, or write `transport = \"http\"`, where each has \
                        its own path";
            self.error(&["upstreams", second], message, help);
        }
    }

    fn pipeline_of(
        &mut self,
        name: &str,
        written: &raw::Upstream,
        common: Option<&Pipeline>,
        policies: &BTreeMap<String, Policy>,
    ) -> Pipeline {
        let at = ["upstreams", name, "pipeline"];
        match (&written.pipeline, common) {
            (Some(own), _) => self.pipeline(&at, own, policies),
            (None, Some(common)) => common.clone(),
            (None, None) => {
                if !self.document.has(&at) && !self.document.has(&["pipeline"]) {
                    let message = format!("nothing says who may use the upstream `{name}`");
                    let help = "add `[pipeline]` with `authenticate = [\"…\"]` and `authorize = [\"…\"]`";
                    self.error(&["upstreams", name], message, help);
                }
                Pipeline::default()
            }
        }
    }

    fn upstream(
        &mut self,
        file: &raw::File,
        name: &str,
        written: &raw::Upstream,
        pipeline: Pipeline,
        alone: bool,
    ) -> Upstream {
        self.named_well(name);
        let path = self.endpoint(name, written, alone);
        let resource = self.resource(file, name, written, &path, alone);
        self.lifetimes.clear();
        let target = self.target(name, written).unwrap_or(UpstreamTarget::Broken);
        let lifetimes = std::mem::take(&mut self.lifetimes);
        Upstream {
            name: name.to_owned(),
            path,
            resource,
            about: ResourceDescription::default(),
            absent: absent(written, &target),
            target,
            lifetimes,
            pipeline,
            timeout: Duration::from_secs(written.timeout_s.unwrap_or(DEFAULT_TIMEOUT_S)),
            scopes: self.scopes(file, name, written),
            sessions: self.sessions(name, written),
            denials: written.denials.map(Denials::from).unwrap_or_default(),
            identity: IdentitySettings::default(),
            credentials: UpstreamCredentials::default(),
            eras: written.eras.as_deref().map(eras),
            max_message: mib(written.max_message_mib.unwrap_or(DEFAULT_MESSAGE_MIB)),
            own_tools: self.tools_beside(name, written),
            own_resources: self.resources_beside(name, written),
            token_issue: None,
            pins: self.pins(name, written),
        }
    }

    /// The scopes (RFC 6749, section 3.3) for a first login.
    fn scopes(&mut self, file: &raw::File, name: &str, written: &raw::Upstream) -> Vec<String> {
        let (at, scopes): (&[&str], _) = match &written.scopes {
            Some(own) => (&["upstreams", name, "scopes"], own),
            None => (&["server", "scopes"], &file.server.scopes),
        };
        for (index, scope) in scopes.iter().enumerate() {
            let index = index.to_string();
            let at = [at, &[index.as_str()]].concat();
            if !is_scope(scope) {
                self.error(
                    &at,
                    format!("`{scope}` is not a scope"),
                    "write one scope, without spaces and quotes",
                );
            } else if scope == OFFLINE_ACCESS {
                let message = format!("`{OFFLINE_ACCESS}` is between a client and its authorization server");
                self.error(&at, message, "remove it: clients request it if they want it");
            }
        }
        scopes.clone()
    }

    /// Checks a name, which becomes a part of a path.
    fn named_well(&mut self, name: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            let message = format!("`{name}` cannot be the name of an upstream");
            self.error(&["upstreams", name], message, "use letters, digits, `-`, `_` and `.`");
        }
    }

    fn endpoint(&mut self, name: &str, written: &raw::Upstream, alone: bool) -> String {
        let Some(path) = &written.path else { return default_path(name, alone) };
        self.check_path(&["upstreams", name, "path"], path);
        path.clone()
    }

    /// Checks the path of an endpoint.
    pub(super) fn check_path(&mut self, at: &[&str], path: &str) {
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '{' | '}' | '*' | '\\' | '%');
        let odd = !path.starts_with('/') || path.contains("//") || path.contains("/.");
        let slashed = path.ends_with('/') && path != "/";
        if odd && !path.starts_with("/.well-known") || slashed || !path.chars().all(plain) {
            self.error(at, format!("`{path}` cannot be the path of an endpoint"), "write one such as `/mcp`");
        } else if path.starts_with("/.well-known") {
            let message = "`/.well-known` is where clients look for metadata";
            self.error(at, message, "choose another path, such as `/mcp`");
        }
    }

    fn resource(
        &mut self,
        file: &raw::File,
        name: &str,
        written: &raw::Upstream,
        path: &str,
        alone: bool,
    ) -> String {
        if let Some(own) = &written.resource {
            self.url(&["upstreams", name, "resource"], own);
        } else if let Some(public) = &file.server.resource {
            self.url(&["server", "resource"], public);
        }
        resource(file, written.resource.as_ref(), path, alone)
    }

    fn target(&mut self, name: &str, written: &raw::Upstream) -> Option<UpstreamTarget> {
        let targets = ["command", "url", "own_tools", "embedded"];
        // A list of own tools is no target: they are beside those of the server.
        let is_target =
            |key: &&str| !(*key == "own_tools" && self.document.is_list(&["upstreams", name, key]));
        let present: Vec<_> = targets
            .into_iter()
            .filter(|key| self.document.has(&["upstreams", name, key]))
            .filter(is_target)
            .collect();
        match (present.as_slice(), written) {
            (["command"], raw::Upstream { command: Some(argv), .. }) => self.child(name, written, argv),
            (["url"], raw::Upstream { url: Some(url), .. }) => self.remote(name, written, url),
            (["own_tools"], raw::Upstream { own_tools: Some(OwnToolChoice::InPlace(true)), .. }) => {
                self.useless(
                    name,
                    written,
                    &["env", "headers", "shared", "transport"],
                    "the host's own tools",
                );
                Some(UpstreamTarget::OwnTools)
            }
            (["embedded"], raw::Upstream { embedded: Some(true), .. }) => {
                let useless = ["env", "headers", "shared", "transport"];
                self.useless(name, written, &useless, "a service of the program itself");
                Some(UpstreamTarget::Embedded)
            }
            // It has the wrong type, which is already reported.
            ([_], raw::Upstream { own_tools: None | Some(OwnToolChoice::Beside(_)), embedded: None, .. }) => {
                None
            }
            ([] | [_], _) => {
                let message = format!("nothing says where the upstream `{name}` is");
                let help =
                    "write `command = [\"…\"]` for a child process, or `url = \"…\"` for an HTTP endpoint";
                self.error(&["upstreams", name], message, help);
                None
            }
            (several, _) => {
                let message = format!("the upstream `{name}` has to be exactly one of {}", listed(several));
                let help = "leave one; make a second upstream of the other";
                self.error(&["upstreams", name, several.last()?], message, help);
                None
            }
        }
    }

    fn child(&mut self, name: &str, written: &raw::Upstream, argv: &[String]) -> Option<UpstreamTarget> {
        self.useless(name, written, &["headers", "transport"], "a child process");
        let env = self.texts(&["upstreams", name, "env"], &written.env, |variable| {
            let fits = !variable.is_empty() && !variable.contains(['=', '\0']);
            if fits { Ok(()) } else { Err("the name of an environment variable has no `=`") }
        });
        let mut argv = argv.to_vec();
        let program = argv.first_mut()?;
        *program = self.program(name, program, &written.env)?;
        Some(UpstreamTarget::Command { argv, env, shared: written.shared.unwrap_or(false) })
    }

    /// Checks a program. A name is looked up on `PATH` when the child starts; a path is relative to the configuration
    /// file.
    fn program(&mut self, name: &str, program: &str, env: &BTreeMap<String, UpstreamText>) -> Option<String> {
        let at = ["upstreams", name, "command", "0"];
        if program.contains('/') {
            let path = self.path(program);
            if matches!(self.presence(&at, &path), Presence::Nothing | Presence::NoFile) {
                let message = format!("there is no program `{}`", path.display());
                self.error(
                    &at,
                    message,
                    "correct the path; a relative path begins in the directory of this file",
                );
            }
            return path.to_str().map(str::to_owned);
        }
        let search = self.environment.get("PATH").filter(|_| !env.contains_key("PATH"));
        if let Some(cause) = search.and_then(|search| not_on_path(program, search)) {
            let help = match program {
                "npx" | "node" | "npm" => {
                    "install Node.js, which brings it (nodejs.org), or write its full path"
                }
                "uvx" | "uv" => "install uv, which brings it (docs.astral.sh/uv), or write its full path",
                "docker" => "install Docker, or write the program's full path",
                _ => "install it, correct the name, or write its full path",
            };
            self.error_of(cause, &at, format!("the program `{program}` is not on PATH"), help);
        }
        Some(program.to_owned())
    }

    fn remote(&mut self, name: &str, written: &raw::Upstream, url: &str) -> Option<UpstreamTarget> {
        self.useless(name, written, &["env", "shared"], "an HTTP endpoint");
        let at = ["upstreams", name, "headers"];
        let headers = self.texts(&at, &written.headers, |header| match header.parse::<HeaderName>() {
            Ok(name) if own_header(&name) => Err("Witgate sets this header itself"),
            Ok(_) => Ok(()),
            Err(_) => Err("this is not the name of a header"),
        });
        for (header, value) in &headers {
            if HeaderValue::from_str(value.expose_secret()).is_err() {
                let message = "the value of this header contains characters that a header cannot have";
                self.error(
                    &[at.as_slice(), &[header]].concat(),
                    message,
                    "look for line breaks and control characters",
                );
            }
        }
        if written.transport == Some(UpstreamTransport::Sse) {
            self.useless(name, written, &["eras"], "HTTP+SSE, which is of the stateful era");
        }
        let url = self.url(&["upstreams", name, "url"], url)?;
        Some(match written.transport {
            Some(UpstreamTransport::Sse) => UpstreamTarget::Sse { url, headers },
            Some(UpstreamTransport::StreamableHttp) | None => UpstreamTarget::Url { url, headers },
        })
    }

    fn texts(
        &mut self,
        at: &[&str],
        texts: &BTreeMap<String, UpstreamText>,
        check: impl Fn(&str) -> Result<(), &'static str>,
    ) -> Vec<(String, SecretString)> {
        let mut resolved = Vec::new();
        for (name, text) in texts {
            let at = [at, &[name]].concat();
            if let Err(message) = check(name) {
                self.error(&at, format!("{message}: `{name}`"), "correct the name, or leave it out");
            }
            let before = std::mem::take(&mut self.lifetimes);
            resolved.extend(self.text(&at, text).map(|value| (name.clone(), value)));
            let own = std::mem::replace(&mut self.lifetimes, before);
            self.lifetimes.extend(own.into_iter().map(|lifetime| lifetime.of_text(name)));
        }
        resolved
    }

    /// Reports a setting without an effect, because it is a misunderstanding.
    fn useless(&mut self, name: &str, written: &raw::Upstream, settings: &[&str], what: &str) {
        let present = |setting: &&&str| match **setting {
            "env" => !written.env.is_empty(),
            "headers" => !written.headers.is_empty(),
            "transport" => written.transport.is_some(),
            "eras" => written.eras.is_some(),
            _ => written.shared.is_some(),
        };
        for setting in settings.iter().filter(present) {
            let message = format!("`{setting}` has no effect for {what}");
            self.error(&["upstreams", name, setting], message, "leave it out");
        }
    }

    fn paths_apart(&mut self, upstreams: &[Upstream]) {
        let mut first: BTreeMap<&str, &str> = BTreeMap::new();
        for Upstream { name, path, .. } in upstreams {
            if let Some(other) = first.insert(path, name) {
                let message = format!("the upstreams `{other}` and `{name}` are both at `{path}`");
                let help = format!("write another `path` for one of them, such as `/{name}/mcp`");
                self.error(&["upstreams", name, "path"], message, help);
            }
        }
    }
}

/// The names of optional headers or variables without a secret.
fn absent(written: &raw::Upstream, target: &UpstreamTarget) -> Vec<String> {
    let is_present = |name: &str| target.texts().iter().any(|(present, _)| present == name);
    let optional = |(name, text): (&String, &UpstreamText)| match text {
        UpstreamText::Secret(secret) if secret.optional && !is_present(name) => Some(name.clone()),
        _ => None,
    };
    written.env.iter().chain(&written.headers).filter_map(optional).collect()
}

pub(super) fn default_path(name: &str, alone: bool) -> String {
    if alone { "/mcp".to_owned() } else { format!("/{name}/mcp") }
}

/// The resource identifier of what is at `path`, with its `own` if it is configured; `alone` if it is the only one.
pub(super) fn resource(file: &raw::File, own: Option<&String>, path: &str, alone: bool) -> String {
    match (own, &file.server.resource) {
        (Some(own), _) => own.clone(),
        (None, Some(public)) if alone => public.clone(),
        // The prefix that a proxy adds to the paths stays in front of them.
        (None, Some(public)) => format!("{}{path}", public.trim_end_matches('/').trim_end_matches("/mcp")),
        (None, None) => {
            let mut listen = listen(&file.server);
            if listen.ip().is_unspecified() {
                listen.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
            }
            let scheme = if file.server.tls.is_some() { "https" } else { "http" };
            format!("{scheme}://{listen}{path}")
        }
    }
}

/// Names and resource identifiers of all upstreams and endpoints, for commands that need nothing else of them.
pub fn resources(file: &raw::File) -> Vec<(String, String)> {
    let alone = file.upstreams.len() <= 1;
    let of = |(name, written): (&String, &raw::Upstream)| {
        let path = written.path.clone().unwrap_or_else(|| default_path(name, alone));
        (name.clone(), resource(file, written.resource.as_ref(), &path, alone))
    };
    let joint = |(name, written): (&String, &raw::EndpointTable)| {
        let path = written.path.clone().unwrap_or_else(|| default_path(name, false));
        (name.clone(), resource(file, written.resource.as_ref(), &path, false))
    };
    file.upstreams.iter().map(of).chain(file.endpoints.iter().map(joint)).collect()
}

/// True for headers of the protocol or of a single hop.
pub(super) fn own_header(name: &HeaderName) -> bool {
    const OWN: [&str; 10] = [
        "host",
        "content-length",
        "content-type",
        "accept",
        "connection",
        "transfer-encoding",
        "mcp-session-id",
        "mcp-protocol-version",
        "last-event-id",
        "te",
    ];
    OWN.contains(&name.as_str())
}

/// Looks for a program on the search path. None: it exists. `Machine`: some directory could not be read.
fn not_on_path(program: &str, search: &str) -> Option<Cause> {
    let mut cause = Cause::Content;
    for folder in std::env::split_paths(search) {
        match is_program(&folder.join(program)) {
            Ok(true) => return None,
            Err(error) if Cause::of(&error).may_pass() => cause = Cause::Machine,
            Ok(false) | Err(_) => {}
        }
    }
    Some(cause)
}

fn is_program(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().map(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn eras(named: &[raw::Era]) -> Eras {
    Eras { stateful: named.contains(&raw::Era::Stateful), stateless: named.contains(&raw::Era::Stateless) }
}
