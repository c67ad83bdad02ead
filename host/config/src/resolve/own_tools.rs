//! `own_tools` as a list, and `own_resources`, of an upstream.

use serde_json::Value;

use super::resolver::Resolver;
use crate::raw::{self, OwnToolChoice};
use crate::{OwnResource, OwnTool, Upstream};

impl Resolver<'_> {
    /// The own tools beside those of the server, each once.
    pub(super) fn tools_beside(&mut self, name: &str, written: &raw::Upstream) -> Vec<OwnTool> {
        let Some(OwnToolChoice::Beside(chosen)) = &written.own_tools else { return Vec::new() };
        if written.embedded == Some(true) {
            let message = "own tools cannot be beside a service of the program itself";
            self.error(&["upstreams", name, "own_tools"], message, "leave `own_tools` out");
        }
        self.each_once((name, "own_tools"), chosen, OwnTool::name)
    }

    /// The own resources beside those of the server, each once.
    pub(super) fn resources_beside(&mut self, name: &str, written: &raw::Upstream) -> Vec<OwnResource> {
        let in_place = matches!(written.own_tools, Some(OwnToolChoice::InPlace(true)));
        if !written.own_resources.is_empty() && (in_place || written.embedded == Some(true)) {
            let message = "own resources are beside those of a server with a `command` or a `url`";
            self.error(&["upstreams", name, "own_resources"], message, "leave `own_resources` out");
        }
        self.each_once((name, "own_resources"), &written.own_resources, OwnResource::uri)
    }

    /// Checks that there is what the own tools tell about.
    pub(super) fn own_tools_have_subjects(&mut self, file: &raw::File, upstreams: &[Upstream]) {
        for upstream in upstreams {
            for (index, tool) in upstream.own_tools.iter().enumerate() {
                let Some((message, help)) = missing(file, *tool) else { continue };
                let at = ["upstreams", &upstream.name, "own_tools", &index.to_string()];
                self.error(&at, format!("`{}` {message}", tool.name()), help);
            }
        }
    }

    fn each_once<T: Copy + PartialEq>(
        &mut self,
        (name, setting): (&str, &str),
        chosen: &[T],
        shown: impl Fn(T) -> &'static str,
    ) -> Vec<T> {
        let mut each: Vec<T> = Vec::new();
        for (index, own) in chosen.iter().copied().enumerate() {
            if each.contains(&own) {
                let at = ["upstreams", name, setting, &index.to_string()];
                self.error(&at, format!("`{}` is there twice", shown(own)), "leave one of them out");
            } else {
                each.push(own);
            }
        }
        each
    }
}

/// The reason why a tool would be of no use, and what to do about it.
fn missing(file: &raw::File, tool: OwnTool) -> Option<(&'static str, &'static str)> {
    let has_accounts = file.accounts.is_some();
    match tool {
        OwnTool::AuthenticateUser | OwnTool::Logout if !has_accounts => Some((
            "is about logins, and there is no `[accounts]`",
            "leave it out, or add a table `[accounts]`",
        )),
        OwnTool::CreateApiKey if !has_accounts || !keys_are_accepted(file) => Some((
            "makes keys that no policy accepts",
            "add a policy of the kind `api-key` with `config = { accounts = true }`, and `[accounts]`",
        )),
        OwnTool::ListAuditEvents if file.audit.as_ref().is_none_or(|audit| audit.directory.is_none()) => {
            Some(("reads the audit log, and there is none", "leave it out, or set `audit.directory`"))
        }
        _ => None,
    }
}

fn keys_are_accepted(file: &raw::File) -> bool {
    file.policies.values().any(|policy| {
        matches!(policy.kind, raw::Kind::ApiKey) && policy.config.get("accounts") == Some(&Value::Bool(true))
    })
}
