//! The gateway of the demo, as a process.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::output::parse;
use super::patience::await_some;
use super::scene::Scene;
use witgate_build::process::{ask, terminate};

/// The time limit for a shutdown, during which running calls may end.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// The running gateway. Dropping this value ends it.
pub(super) struct Gateway {
    child: Child,
    log: PathBuf,
    list: Box<dyn Fn() -> Command>,
}

/// The entry of the swapped policy in `witgate plugin list`.
pub(super) struct Rules {
    /// The live component's digest.
    pub(super) digest: String,
    /// The reason why the present file is not live.
    pub(super) error: Option<String>,
}

impl Gateway {
    /// Starts the gateway and waits until it listens.
    pub(super) fn start(scene: &Scene) -> Result<Self> {
        let log = scene.config.with_file_name("witgate.log");
        let file = File::create(&log)?;
        let child = scene
            .command(&["serve"])
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot start witgate")?;
        let (witgate, config) = (scene.witgate.clone(), scene.config.clone());
        let list = Box::new(move || {
            let mut command = Command::new(&witgate);
            command.args(["plugin", "list", "--json", "--config"]).arg(&config);
            command
        });
        let mut gateway = Self { child, log, list };
        await_some("witgate listens", || {
            gateway.must_run()?;
            Ok(TcpStream::connect(&scene.address).ok())
        })?;
        Ok(gateway)
    }

    /// The log so far.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The policy `rules` as it is now.
    pub(super) fn rules(&self) -> Result<Rules> {
        let output = ask(&mut (self.list)()).context("`witgate plugin list --json` failed")?;
        let list = parse(&output)?;
        let policies = list.get("policies").and_then(Value::as_array).into_iter().flatten();
        let text = |policy: &Value, field: &str| Some(policy.get(field)?.as_str()?.to_owned());
        let rules = policies.into_iter().find(|policy| text(policy, "name").as_deref() == Some("rules"));
        let rules = rules.with_context(|| format!("no policy `rules` in {output}"))?;
        Ok(Rules { digest: text(rules, "digest").unwrap_or_default(), error: text(rules, "error") })
    }

    /// Waits until the policy reaches the expected state.
    pub(super) fn await_rules(&self, reached: impl Fn(&Rules) -> bool) -> Result<Rules> {
        await_some("`witgate plugin list` shows the change", || Ok(Some(self.rules()?).filter(&reached)))
    }

    /// Waits, while the gateway serves, until `stopped` is true.
    pub(super) fn serve_until(&mut self, stopped: impl Fn() -> bool) -> Result<()> {
        while !stopped() {
            self.must_run()?;
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Ends the gateway with a graceful shutdown.
    pub(super) fn stop(mut self) -> Result<()> {
        terminate(self.child.id());
        let start = Instant::now();
        while start.elapsed() < SHUTDOWN {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("witgate does not end within {} s:\n{}", SHUTDOWN.as_secs(), self.log())
    }

    fn must_run(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("witgate ended ({status}):\n{}", self.log()),
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // SIGTERM first, so that the gateway ends its own child processes.
            terminate(self.child.id());
            thread::sleep(Duration::from_millis(500));
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
