//! `[endpoints]`.

use super::resolver::Resolver;
use super::upstreams::{default_path, resource};
use crate::combined_endpoint::{CombinedEndpoint, EndpointUpstream, PREFIX_END};
use crate::diagnostic::Part;
use crate::shape::{listed, nearest};
use crate::{Denials, ResourceDescription, Upstream, raw};
use witgate_plugin::Pattern;

/// The longest name of an upstream that is a prefix. Clients permit 64 characters for the whole name of a tool.
const LONGEST_PREFIX: usize = 32;

impl Resolver<'_> {
    pub(super) fn endpoints(&mut self, file: &raw::File, upstreams: &[Upstream]) -> Vec<CombinedEndpoint> {
        let mut endpoints = Vec::new();
        for (name, written) in &file.endpoints {
            let endpoint = self.combined_endpoint(file, name, written, upstreams);
            self.is_at_a_free_path(&endpoint, upstreams, &endpoints);
            endpoints.push(endpoint);
        }
        self.all_over_stdio(file);
        endpoints
    }

    fn combined_endpoint(
        &mut self,
        file: &raw::File,
        name: &str,
        written: &raw::EndpointTable,
        upstreams: &[Upstream],
    ) -> CombinedEndpoint {
        self.endpoint_named_well(name);
        let path = written.path.clone().unwrap_or_else(|| default_path(name, false));
        self.check_path(&["endpoints", name, "path"], &path);
        if file.accounts.is_some() {
            self.path_is_free(&["endpoints", name, "path"], &path);
        }
        if let Some(own) = &written.resource {
            self.url(&["endpoints", name, "resource"], own);
        }
        let joined = self.joined(name, written, upstreams);
        self.owners_are_upstreams(name, written);
        let resource = resource(file, written.resource.as_ref(), &path, false);
        let denials = joined.first().map_or(Denials::default(), |first| first.denials);
        let owns = |upstream: &&Upstream| EndpointUpstream {
            name: upstream.name.clone(),
            owns: self.owned(name, &upstream.name, written),
            written: written.owns.get(&upstream.name).cloned().unwrap_or_default(),
            offers_resources: written
                .owns
                .get(&upstream.name)
                .is_some_and(|own| own.iter().any(is_for_resources)),
        };
        let upstreams = joined.iter().map(owns).collect();
        let about = description(&file.server);
        CombinedEndpoint { name: name.to_owned(), path, resource, about, upstreams, denials }
    }

    fn endpoint_named_well(&mut self, name: &str) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
            let message = format!("`{name}` cannot be the name of an endpoint");
            self.error(&["endpoints", name], message, "use letters, digits, `-`, `_` and `.`");
        }
    }

    /// The upstreams of an endpoint, which accept the same credentials.
    fn joined<'a>(
        &mut self,
        name: &str,
        written: &raw::EndpointTable,
        upstreams: &'a [Upstream],
    ) -> Vec<&'a Upstream> {
        let mut joined: Vec<&Upstream> = Vec::new();
        for (index, of) in written.upstreams.iter().enumerate() {
            let index = index.to_string();
            let at = ["endpoints", name, "upstreams", &index];
            let Some(upstream) = upstreams.iter().find(|upstream| upstream.name == *of) else {
                let names = upstreams.iter().map(|upstream| upstream.name.as_str());
                let near = nearest(of, names).map(|near| format!("; did you mean `{near}`?"));
                let message = format!("there is no upstream `{of}`{}", near.unwrap_or_default());
                self.error(&at, message, "write the names of tables under `[upstreams]`");
                continue;
            };
            self.prefixes_well(&at, of);
            if joined.iter().any(|other| other.name == *of) {
                self.error(&at, format!("`{of}` is here twice"), "leave one");
                continue;
            }
            let first = joined.iter().find(|other| !self.is_closed(other));
            if let Some(first) = first.filter(|_| !self.is_closed(upstream)) {
                self.accept_the_same(&at, first, upstream);
            }
            joined.push(upstream);
        }
        if self.document.has(&["endpoints", name]) && written.upstreams.len() < 2 {
            let help = "write at least two: each upstream is also served alone, at its own path";
            self.error(&["endpoints", name, "upstreams"], "an endpoint joins several upstreams", help);
        }
        joined
    }

    /// The name of an upstream is a prefix of names, from which it can be told apart.
    fn prefixes_well(&mut self, at: &[&str], name: &str) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let is_told_apart = !name.contains(PREFIX_END) && !name.ends_with('_');
        if name.len() > LONGEST_PREFIX || !name.chars().all(is_plain) || !is_told_apart {
            let message = format!("`{name}` cannot be the prefix of names of tools");
            let help = format!(
                "at an endpoint with others, an upstream has a name of at most {LONGEST_PREFIX} letters, digits, `-` \
                 and `_`, without `{PREFIX_END}` and without `_` at the end: rename it"
            );
            self.error(at, message, help);
        }
    }

    /// True if an upstream, or its pipeline, has a fault of its own.
    fn is_closed(&self, upstream: &Upstream) -> bool {
        let name = &upstream.name;
        let parts = [Part::Upstream(name.clone()), Part::Pipeline(name.clone())];
        let is_of_it = |part: &Part| parts.contains(part);
        self.faults.iter().any(|fault| fault.is_error() && fault.part().is_some_and(is_of_it))
    }

    /// A client shows one credential to all upstreams of an endpoint.
    fn accept_the_same(&mut self, at: &[&str], first: &Upstream, other: &Upstream) {
        let names = |upstream: &Upstream| listed(&upstream.pipeline.authenticate);
        let takes_anybody = |upstream: &Upstream| match &upstream.pipeline.anonymous {
            Some(_) => "callers without a credential",
            None => "no callers without a credential",
        };
        let differs = [
            ("`authenticate` is", names(first), names(other)),
            ("it accepts", takes_anybody(first).to_owned(), takes_anybody(other).to_owned()),
            ("`denials` is", format!("{:?}", first.denials), format!("{:?}", other.denials)),
        ];
        for (what, of_first, of_other) in differs.into_iter().filter(|(_, first, other)| first != other) {
            let message = format!(
                "the upstreams `{}` and `{}` cannot be at one endpoint, where a client shows one credential: {what} \
                 {of_first} at the first one, and {of_other} at the other one",
                first.name, other.name
            );
            let help = "give both pipelines the same `authenticate` and `anonymous`, and both upstreams the same \
                        `denials`; `authorize` may differ";
            self.error(at, message, help);
        }
    }

    fn owners_are_upstreams(&mut self, name: &str, written: &raw::EndpointTable) {
        for owner in written.owns.keys().filter(|owner| !written.upstreams.contains(owner)) {
            let message = format!("`{owner}` is no upstream of this endpoint");
            self.error(&["endpoints", name, "owns", owner], message, "add it to `upstreams`, or remove this");
        }
    }

    fn owned(&mut self, name: &str, upstream: &str, written: &raw::EndpointTable) -> Vec<Pattern> {
        let mut patterns = Vec::new();
        for (index, text) in written.owns.get(upstream).into_iter().flatten().enumerate() {
            let index = index.to_string();
            let at = ["endpoints", name, "owns", upstream, &index];
            if text.starts_with("method:") {
                let help = "write patterns of tools, or of `prompt:` and `resource:`";
                self.error(&at, "a method belongs to no upstream", help);
                continue;
            }
            match text.parse() {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    let error: witgate_plugin::PatternError = error;
                    self.error(&at, error.to_string(), "correct the pattern, or remove it");
                }
            }
        }
        patterns
    }

    fn is_at_a_free_path(
        &mut self,
        endpoint: &CombinedEndpoint,
        upstreams: &[Upstream],
        others: &[CombinedEndpoint],
    ) {
        let CombinedEndpoint { name, path, .. } = endpoint;
        let upstream = upstreams.iter().find(|upstream| upstream.path == *path);
        let upstream = upstream.map(|upstream| format!("the upstream `{}`", upstream.name));
        let other = others.iter().find(|other| other.path == *path);
        let other = other.map(|other| format!("the endpoint `{}`", other.name));
        if let Some(taken) = upstream.or(other) {
            let message = format!("the endpoint `{name}` and {taken} are both at `{path}`");
            let help = "write another `path`, or another name, for one of them";
            self.error(&["endpoints", name], message, help);
        }
    }

    /// Over stdio there is one endpoint, with all upstreams.
    fn all_over_stdio(&mut self, file: &raw::File) {
        let names = self.document.keys(&["endpoints"]);
        if !matches!(file.server.transport, Some(raw::Transport::Stdio)) {
            return;
        }
        if let [_, second, ..] = names.as_slice() {
            let message = "over stdio there is one endpoint, because there is one stream";
            self.error(&["endpoints", second], message, "leave one, or write `transport = \"http\"`");
        } else if let Some((name, endpoint)) = file.endpoints.first_key_value() {
            let is_left_out = |upstream: &&String| !endpoint.upstreams.contains(upstream);
            for left_out in file.upstreams.keys().filter(is_left_out) {
                let message = format!(
                    "over stdio there is the endpoint `{name}` alone, and the upstream `{left_out}` is not in it"
                );
                self.error(&["upstreams", left_out], message, "add it to `upstreams` there, or remove it");
            }
        }
    }
}

/// True if a pattern is for resources. `*` stands for all kinds.
fn is_for_resources(pattern: &String) -> bool {
    pattern == "*" || pattern.starts_with("resource:")
}

/// The description in `[server]`, which is checked with that of the upstreams.
fn description(server: &raw::Server) -> ResourceDescription {
    ResourceDescription {
        name: server.resource_name.clone(),
        documentation: server.resource_documentation.clone(),
        policy: server.resource_policy_uri.clone(),
        terms: server.resource_tos_uri.clone(),
    }
}
