//! The starter configuration.

use super::own_server::OwnServer;

/// The starter configuration for the example server: it works without a change, and lists the other options.
pub(super) const STARTER: &str = include_str!("witgate.toml");

/// A variant of the starter configuration.
pub(super) struct Starter<'a> {
    /// True if the lines about components are comments.
    pub(super) builtin: bool,
    /// The server. None: the example server.
    pub(super) server: Option<&'a OwnServer>,
    /// True if calls are also decided by roles.
    pub(super) by_roles: bool,
}

impl Starter<'_> {
    /// The text of the file.
    pub(super) fn text(&self) -> String {
        let paragraphs = STARTER.trim_end().split("\n\n").filter_map(|paragraph| self.paragraph(paragraph));
        let text = paragraphs.collect::<Vec<_>>().join("\n\n") + "\n";
        if !self.builtin {
            return text;
        }
        text.replace("\ncomponent = ", "\n# component = ").replace("\nfallback = ", "\n# fallback = ")
    }

    fn paragraph(&self, paragraph: &str) -> Option<String> {
        let has = |table: &str| paragraph.lines().any(|line| line.starts_with(table));
        match self.server {
            Some(server) if has("[upstreams.") => return Some(server.section()),
            Some(_) if has("[policies.roles.config.roles.user]") && self.by_roles => {
                // The example server's own tool.
                let lines = paragraph.lines().filter(|line| !line.starts_with("deny = "));
                return Some(lines.collect::<Vec<_>>().join("\n"));
            }
            _ => {}
        }
        if self.by_roles {
            return Some(paragraph.to_owned());
        }
        match paragraph {
            _ if has("[policies.roles") => None,
            _ if has("[pipeline]") => Some(BY_KEYS.to_owned()),
            _ => Some(paragraph.to_owned()),
        }
    }
}

/// The pipeline if the patterns of the keys decide alone.
const BY_KEYS: &str = "\
# The policies that decide about each call. `keys` is also an authorizer: a call has to match the key's own patterns.
[pipeline]
authenticate = [\"keys\"]
authorize = [\"keys\"]";
