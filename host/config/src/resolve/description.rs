//! The descriptive members of the RFC 9728 metadata.

use url::Url;

use super::resolver::Resolver;
use crate::{ResourceDescription, raw};
use witgate_base::printable::is_plain;

/// Maximum length of a name, which has to fit into a dialog.
const LONGEST_NAME: usize = 200;

impl Resolver<'_> {
    /// The description in `[server]`, for upstreams without their own.
    pub(super) fn servers_about(&mut self, server: &raw::Server) -> ResourceDescription {
        let raw::Server {
            resource_name, resource_documentation, resource_policy_uri, resource_tos_uri, ..
        } = server;
        let written = [resource_name, resource_documentation, resource_policy_uri, resource_tos_uri];
        self.about(server, &["server"], written)
    }

    /// The description of one upstream.
    pub(super) fn own_about(
        &mut self,
        server: &raw::Server,
        name: &str,
        upstream: &raw::Upstream,
    ) -> ResourceDescription {
        let raw::Upstream {
            resource_name,
            resource_documentation,
            resource_policy_uri,
            resource_tos_uri,
            ..
        } = upstream;
        let written = [resource_name, resource_documentation, resource_policy_uri, resource_tos_uri];
        self.about(server, &["upstreams", name], written)
    }

    fn about(
        &mut self,
        server: &raw::Server,
        at: &[&str],
        written: [&Option<String>; 4],
    ) -> ResourceDescription {
        let [name, documentation, policy, terms] = written;
        let mut good = |setting, text: &Option<String>, check: TextCheck| {
            let (at, text) = ([at, &[setting]].concat(), text.as_ref()?);
            self.warn_without_metadata(server, &at);
            check(text).map_err(|(message, help)| self.error(&at, message, help)).ok()?;
            Some(text.clone())
        };
        ResourceDescription {
            name: good("resource_name", name, check_name),
            documentation: good("resource_documentation", documentation, check_page),
            policy: good("resource_policy_uri", policy, check_page),
            terms: good("resource_tos_uri", terms, check_page),
        }
    }

    /// Warns about a setting for metadata if there is none.
    fn warn_without_metadata(&mut self, server: &raw::Server, at: &[&str]) {
        if server.authorization_servers.is_empty() {
            let help =
                "set `server.authorization_servers`, without which there is no metadata, or leave it out";
            self.warning(at, "this setting has no effect", help);
        }
    }
}

type TextCheck = fn(&str) -> Result<(), (String, &'static str)>;

fn check_name(name: &str) -> Result<(), (String, &'static str)> {
    let fits = !name.trim().is_empty() && name.len() <= LONGEST_NAME && name.chars().all(is_plain);
    let message =
        || format!("this is not a name: a name has 1 to {LONGEST_NAME} bytes, and visible characters only");
    fits.then_some(()).ok_or_else(|| (message(), "write what people call it, such as `Tickets`"))
}

/// Checks a link. Clients show it to people, who follow it.
fn check_page(page: &str) -> Result<(), (String, &'static str)> {
    let is_page = Url::parse(page).is_ok_and(|url| {
        let has_user = !url.username().is_empty() || url.password().is_some();
        url.scheme() == "https" && url.host_str().is_some_and(|host| !host.contains('*')) && !has_user
    });
    let message = "this is not the https URL of a page".to_owned();
    is_page.then_some(()).ok_or((message, "write one such as `https://example.com/docs`"))
}
