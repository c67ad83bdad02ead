//! The client that calls without a pause while a policy is swapped.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::output::parse;
use super::patience::PATIENCE;
use super::scene::Scene;

/// The tool for a long call: its duration is an argument, and the policy that is swapped in denies it.
const LONG_TOOL: &str = "trigger-long-running-operation";

/// Duration of the call that runs through the swap.
const LONG: Duration = Duration::from_secs(3);

/// Calls without a pause during a change (`steady.mjs`).
pub(super) struct SteadyClient {
    child: Child,
    events: Receiver<Value>,
}

/// The client's observations.
pub(super) struct Done {
    /// The number of calls that should succeed.
    pub(super) calls: u64,
    /// The calls that did not succeed.
    pub(super) lost: Vec<Value>,
    long: Value,
}

impl SteadyClient {
    /// Starts the client as Alice, and waits until all of its connections are busy and it may call [`LONG_TOOL`].
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

    /// Waits for the end of the long call, and ends the client.
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
                Some(event_kind) if event_kind == kind => return Ok(event),
                Some("failed") => bail!("the client failed: {event}"),
                _ => {}
            }
        }
        bail!("the client does not say {kind:?} within {} s", limit.as_secs())
    }
}

impl Drop for SteadyClient {
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
