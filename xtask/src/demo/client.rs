//! A real client, `@modelcontextprotocol/client`, through its drivers in `tests/clients`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::output::parse;
use crate::tools::Tools;
use witgate_build::process::ask;

/// The installed client.
pub(super) struct Client {
    node: PathBuf,
    tools: PathBuf,
    drivers: PathBuf,
}

/// The observations of a client.
pub(super) struct Answer {
    /// The tools in the list that it got.
    pub(super) listed: Vec<String>,
    /// The text of the tool's result.
    pub(super) called: Option<String>,
    /// The error that ended the client.
    pub(super) error: Option<Value>,
}

impl Client {
    pub(super) fn new(root: &Path, tools: &Tools) -> Self {
        Self { node: tools.node.clone(), tools: tools.dir.clone(), drivers: root.join("tests/clients") }
    }

    /// Lists the tools of a server that the client starts itself.
    pub(super) fn directly(&self, server: &[String]) -> Result<Answer> {
        Self::answer(self.driver("ts-client.mjs").args(["--stdio", "--"]).args(server))
    }

    /// Lists the tools at a URL.
    pub(super) fn list(&self, url: &str, key: Option<&String>) -> Result<Answer> {
        Self::answer(self.driver_at("ts-client.mjs", url, key))
    }

    /// Lists the tools at a URL, and then calls one.
    pub(super) fn call(
        &self,
        url: &str,
        key: Option<&String>,
        tool: &str,
        arguments: &Value,
    ) -> Result<Answer> {
        let mut driver = self.driver_at("ts-client.mjs", url, key);
        driver.arg(format!("--call={tool}")).arg(format!("--args={arguments}"));
        Self::answer(driver)
    }

    pub(super) fn driver_at(&self, name: &str, url: &str, key: Option<&String>) -> Command {
        let mut driver = self.driver(name);
        driver.args(["--url", url]).args(key.map(|key| format!("--header=X-API-Key: {key}")));
        driver
    }

    fn driver(&self, name: &str) -> Command {
        let mut driver = Command::new(&self.node);
        driver.arg(self.drivers.join(name)).env("WITGATE_TEST_TOOLS", &self.tools);
        driver
    }

    fn answer(mut driver: impl std::borrow::BorrowMut<Command>) -> Result<Answer> {
        // A failure does not print the command, because its arguments hold a key. The driver limits its own time and
        // reports errors itself.
        let output = ask(driver.borrow_mut()).context("the client's driver failed")?;
        let mut report = parse(&output)?;
        let names = report.get("listed").and_then(Value::as_array).into_iter().flatten();
        Ok(Answer {
            listed: names.filter_map(|name| Some(name.as_str()?.to_owned())).collect(),
            called: report.pointer("/called/content/0/text").and_then(Value::as_str).map(str::to_owned),
            error: report.get_mut("error").map(Value::take).filter(|error| !error.is_null()),
        })
    }
}

impl Answer {
    /// The reason code of a denial.
    pub(super) fn reason(&self) -> Option<&str> {
        self.error.as_ref()?.pointer("/data/reason")?.as_str()
    }
}
