//! A real client, `@modelcontextprotocol/client`, through its drivers in `tests/clients`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::scene::Scene;
use super::{PATIENCE, parse};
use crate::tools::Tools;
use witgate_build::process::ask;

/// Denied by the policy that is swapped in, and with a duration of one's choice.
const LONG_TOOL: &str = "trigger-long-running-operation";

/// Duration of the call that runs through the swap.
const LONG: Duration = Duration::from_secs(3);

/// The client, installed.
pub(super) struct Client {
    node: PathBuf,
    tools: PathBuf,
    drivers: PathBuf,
}

/// The answer to a client.
pub(super) struct Answer {
    /// The tools it was shown.
    pub(super) listed: Vec<String>,
    /// The text that the tool answered.
    pub(super) called: Option<String>,
    /// The error that stopped it.
    pub(super) error: Option<Value>,
}

impl Client {
    pub(super) fn new(root: &Path, tools: &Tools) -> Self {
        Self { node: tools.node.clone(), tools: tools.dir.clone(), drivers: root.join("tests/clients") }
    }

    /// Lists the tools of a server that it starts itself.
    pub(super) fn directly(&self, server: &[String]) -> Result<Answer> {
        Self::answer(self.driver("ts-client.mjs").args(["--stdio", "--"]).args(server))
    }

    /// Lists the tools at a URL.
    pub(super) fn list(&self, url: &str, key: Option<&String>) -> Result<Answer> {
        Self::answer(self.driver_at("ts-client.mjs", url, key))
    }

    /// Calls a tool at a URL, and lists them before.
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

    fn driver_at(&self, name: &str, url: &str, key: Option<&String>) -> Command {
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
        // Not shown on failure: its arguments hold a key. It bounds its own time and reports what went wrong.
        let said = ask(driver.borrow_mut()).context("the client's driver failed")?;
        let mut report = parse(&said)?;
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

/// Calls without pause while something changes (`steady.mjs`).
pub(super) struct Steady {
    child: Child,
    events: Receiver<Value>,
}

/// The client's observations.
pub(super) struct Done {
    /// The number of calls that should succeed.
    pub(super) calls: u64,
    /// Those that did not.
    pub(super) lost: Vec<Value>,
    long: Value,
}

impl Steady {
    /// Starts it as Alice, and waits until all of its connections are busy and may call [`LONG_TOOL`].
    pub(super) fn start(scene: &Scene) -> Result<Self> {
        let briefly = json!({ "duration": 0.01, "steps": 1 });
        let long = json!({ "duration": LONG.as_secs(), "steps": 3 });
        let mut child = scene
            .client
            .driver_at("steady.mjs", &scene.url, Some(&scene.alice))
            .args([
                "--call",
                "echo",
                "--args",
                r#"{"message":"hi"}"#,
                "--probe",
                LONG_TOOL,
                "--long",
                LONG_TOOL,
            ])
            .arg(format!("--probe-args={briefly}"))
            .arg(format!("--long-args={long}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let (sender, events) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if parse(&line).is_ok_and(|event| sender.send(event).is_err()) {
                    return;
                }
            }
        });
        let steady = Self { child, events };
        steady.next("ready", PATIENCE)?;
        let first = steady.next("probe", PATIENCE)?;
        match first.get("error") {
            Some(Value::Null) => Ok(steady),
            other => bail!("alice may not call {LONG_TOOL}: {other:?}"),
        }
    }

    /// Makes the one call that takes long.
    pub(super) fn begin_long_call(&mut self) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("stdin is piped")?;
        Ok(stdin.write_all(b"long\n")?)
    }

    /// The time, in milliseconds since 1970, at which the outcome of the probing calls changed.
    pub(super) fn next_probe(&self, limit: Duration) -> Result<f64> {
        let event = self.next("probe", limit).context("no call was decided by the new policy")?;
        event.get("at").and_then(Value::as_f64).context("a probe has a time")
    }

    /// Ends it, once the long call has ended.
    pub(super) fn finish(mut self) -> Result<Done> {
        drop(self.child.stdin.take());
        let mut done = self.next("done", LONG + PATIENCE)?;
        let lost = done.get_mut("lost").map(Value::take);
        Ok(Done {
            calls: done.get("calls").and_then(Value::as_u64).unwrap_or_default(),
            lost: lost.and_then(|lost| lost.as_array().cloned()).context("no list of lost calls")?,
            long: done.get_mut("long").map(Value::take).unwrap_or_default(),
        })
    }

    fn next(&self, kind: &str, limit: Duration) -> Result<Value> {
        let started = Instant::now();
        while let Some(rest) = limit.checked_sub(started.elapsed()) {
            let event = self
                .events
                .recv_timeout(rest)
                .with_context(|| format!("the client does not say {kind:?}"))?;
            match event.get("event").and_then(Value::as_str) {
                Some(said) if said == kind => return Ok(event),
                Some("failed") => bail!("the client failed: {event}"),
                _ => {}
            }
        }
        bail!("the client does not say {kind:?} within {} s", limit.as_secs())
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Done {
    /// True if the long call ended.
    pub(super) fn long_succeeded(&self) -> bool {
        self.long.get("text").is_some_and(Value::is_string)
    }

    /// The outcome of the long call.
    pub(super) fn long_call(&self) -> String {
        let seconds = LONG.as_secs();
        if self.long_succeeded() {
            format!("a call of {seconds} s ended well, though the new policy denies {LONG_TOOL} to new ones")
        } else {
            format!("a call of {seconds} s was broken off: {}", self.long)
        }
    }
}
