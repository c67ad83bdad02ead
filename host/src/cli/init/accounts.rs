//! `witgate init --accounts`: a configuration whose users log in at Witgate.

use std::path::Path;

use serde_json::json;

use super::own_server::OwnServer;
use crate::cli::plugin::export::ExportedComponent;
use crate::cli::terminal::Terminal;

/// The configuration for the example server: it works once there is a user.
const STARTER: &str = include_str!("accounts.toml");

/// The URL that clients call.
const URL: &str = "http://127.0.0.1:8790/mcp";

/// The text of the configuration, in front of this server. `builtin`: the lines about components are comments.
pub(super) fn text(server: Option<&OwnServer>, builtin: bool) -> String {
    let paragraphs = STARTER.trim_end().split("\n\n").map(|paragraph| own(paragraph, server));
    let text = paragraphs.collect::<Vec<_>>().join("\n\n") + "\n";
    if !builtin {
        return text;
    }
    text.replace("\ncomponent = ", "\n# component = ").replace("\nfallback = ", "\n# fallback = ")
}

fn own(paragraph: &str, server: Option<&OwnServer>) -> String {
    let has = |table: &str| paragraph.lines().any(|line| line.starts_with(table));
    match server {
        Some(server) if has("[upstreams.") => server.section(),
        // The example server's own tool.
        Some(_) => {
            paragraph.lines().filter(|line| !line.starts_with("deny = ")).collect::<Vec<_>>().join("\n")
        }
        None => paragraph.to_owned(),
    }
}

/// The work of the command.
pub(super) struct AccountsSummary<'a> {
    pub(super) path: &'a Path,
    pub(super) server: Option<&'a OwnServer>,
    pub(super) components: Vec<ExportedComponent>,
    /// The lines that were added to `.gitignore`, or the reason why none could be.
    pub(super) ignored: Result<Vec<&'static str>, String>,
}

impl AccountsSummary<'_> {
    /// Prints the result, and what comes next.
    pub(super) fn print(&self, terminal: &Terminal) {
        if terminal.is_json() {
            return terminal.print_json(&json!({
                "config": self.path,
                "url": URL,
                "components": self.components.iter().map(ExportedComponent::json).collect::<Vec<_>>(),
                "ignored": self.ignored.as_ref().ok(),
            }));
        }
        terminal.say(&format!("Wrote {}.", self.path.display()));
        for note in self.server.map(OwnServer::notes).unwrap_or_default() {
            terminal.say(&note);
        }
        match &self.ignored {
            Ok(lines) if lines.is_empty() => {}
            Ok(lines) => terminal.say(&format!("Added to .gitignore: {}.", lines.join(", "))),
            Err(error) => terminal.say(error),
        }
        terminal.say(&format!(
            "\nNext: make the first user, and serve.\n\n  witgate user add NAME --accounts --role admin\n  witgate check\n  \
             witgate serve\n\nThen give an MCP client the URL {URL}: it opens the login in the browser. People see their \
             programs and make keys at {}. Others than you call an https URL: set `server.resource`, and TLS or a \
             proxy (docs/accounts.md).",
            URL.replace("/mcp", "/account")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starter_is_the_file_as_it_is() {
        assert_eq!(text(None, false), STARTER);
        assert!(STARTER.contains(URL));
        let builtin = text(None, true);
        assert!(!builtin.contains("\ncomponent") && builtin.contains("\n# component = \"plugins/jwt.wasm\""));
    }
}
