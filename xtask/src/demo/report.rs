//! The output of the demo.

use anyhow::{Result, bail};
use serde_json::Value;

use super::client::Answer;
use super::scene::Scene;

/// Prints results as they come, and collects the failures.
#[derive(Default)]
pub(super) struct Report {
    wrong: Vec<String>,
}

impl Report {
    pub(super) fn title(&self, text: &str) {
        println!("\n{text}");
    }

    /// Prints a line of the table of decisions, for a list.
    pub(super) fn listed(&self, caller: &str, answer: &Answer, all: usize) {
        let count = answer.listed.len();
        let names = match count {
            1..=3 => format!(": {}", answer.listed.join(", ")),
            _ => String::new(),
        };
        match &answer.error {
            None => self.row(caller, "list of tools", "allowed", &format!("shows {count} of {all}{names}")),
            Some(error) => self.row(caller, "list of tools", "denied", &why(error)),
        }
    }

    /// Prints a line of the table of decisions, for a call.
    pub(super) fn called(&self, caller: &str, tool: &str, answer: &Answer) {
        match (&answer.called, &answer.error) {
            (Some(text), _) => self.row(caller, tool, "allowed", text),
            (None, Some(error)) => self.row(caller, tool, "denied", &why(error)),
            (None, None) => self.row(caller, tool, "denied", "no answer"),
        }
    }

    fn row(&self, caller: &str, what: &str, outcome: &str, why: &str) {
        println!("  {caller:18} {what:14} {outcome:8} {why}");
    }

    /// Prints a fact with its name.
    pub(super) fn fact(&self, name: &str, value: &str) {
        println!("  {name:20} {value}");
    }

    /// Records a failure if the expected event did not happen.
    pub(super) fn expect(&mut self, happened: bool, what: &str) {
        if !happened {
            self.wrong.push(what.to_owned());
        }
    }

    pub(super) fn conclude(self) -> Result<()> {
        if self.wrong.is_empty() {
            println!("\nAll of it as it should be.");
            return Ok(());
        }
        bail!("not as it should be: {}", self.wrong.join("; "))
    }
}

/// HTTP status, reason code and message of a refusal, as far as the client reports them.
fn why(error: &Value) -> String {
    let status = error.get("status").and_then(Value::as_u64).map(|status| status.to_string());
    let reason = error.pointer("/data/reason").and_then(Value::as_str).map(|reason| format!("{reason}:"));
    let message = error.get("message").and_then(Value::as_str).map(|text| first_line(&own_words(text)));
    [status, reason, message].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The server's message, extracted if the client's message holds the whole answer.
fn own_words(text: &str) -> String {
    let answer = text.find('{').and_then(|start| serde_json::from_str::<Value>(text.get(start..)?).ok());
    let message = answer.as_ref().and_then(|answer| answer.pointer("/error/message")?.as_str());
    message.unwrap_or(text).to_owned()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(100).collect()
}

/// Prints commands for further trials by hand.
pub(super) fn invite(scene: &Scene) {
    let (url, alice, bob) = (&scene.url, &scene.alice, &scene.bob);
    let (witgate, config) = (scene.witgate.display(), scene.config.display());
    let rules = scene.rules.display();
    println!(
        r#"
Serving at {url} until Ctrl-C. Connect as
  alice, developer   X-API-Key: {alice}
  bob, guest         X-API-Key: {bob}

With the inspector:
  npx @modelcontextprotocol/inspector --cli {url} --transport http --header 'X-API-Key: {bob}' --method tools/list

With Claude Desktop (claude_desktop_config.json):
  {{ "mcpServers": {{ "witgate-demo": {{
      "command": "npx", "args": ["-y", "mcp-remote", "{url}", "--header", "X-API-Key:{alice}"] }} }} }}

Swap the policy yourself, and see what is live:
  cp target/plugins/examples/read-only.wasm {rules}
  {witgate} plugin list --config {config}"#
    );
}
