//! The gateway under test, whose component and configuration change in every way that files change.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::audit::Audit;
use super::caller::{Caller, Door};
use super::state::{CONFIGS, State, TOOLS, VERSIONS, role, rules};
use super::timeline::Timeline;
use super::vitals::Vitals;
use crate::guests::digest;
use crate::servers::Server;
use witgate_build::process::{run, terminate};

/// Time limit for a command that reads and writes a file, or asks over a socket.
const QUICK: Duration = Duration::from_secs(30);

/// Time limit from a change to the answer that shows it, for the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Time limit from the start to the first connection: components may be compiled first, beside other work.
const START: Duration = Duration::from_secs(150);

/// Pause between two checks: short in comparison with a change.
const GLANCE: Duration = Duration::from_micros(500);

/// The number of checks that most changes take.
const LOOKS: usize = 2;

/// The upstream whose calls are judged.
pub(crate) const JUDGED: &str = "judged";

/// A way of making a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Another component, written elsewhere and renamed to the file's name.
    Rename,
    /// Another component, written into the file.
    InPlace,
    /// Another component, in another directory, to which a link is changed.
    Flip,
    /// Another configuration, renamed to the file's name.
    Config,
}

impl Way {
    /// All ways, in turn.
    pub(crate) const ALL: [Self; 4] = [Self::Rename, Self::InPlace, Self::Flip, Self::Config];

    /// The state that follows `state` when a change is made this way.
    pub(crate) fn next(self, state: State) -> State {
        match self {
            Self::Config => state.next_config(),
            Self::Rename | Self::InPlace | Self::Flip => state.next_version(),
        }
    }
}

/// The directory of a gateway, with all of its files.
pub(crate) struct Place {
    directory: PathBuf,
    programs: PathBuf,
    versions: Vec<Vec<u8>>,
    /// The part of the configuration that only this run has.
    more: String,
    upstream: String,
    pub(crate) door: Door,
    person: String,
    /// The program that starts the gateway, and its arguments.
    starter: &'static [&'static str],
}

impl Place {
    /// Makes the directory, with `more` in the configuration.
    pub(crate) fn set(
        root: &Path,
        directory: &Path,
        programs: &Path,
        upstream: &str,
        more: &str,
    ) -> Result<Self> {
        let plugins = root.join("target/plugins");
        let read =
            |name: &str| fs::read(plugins.join(name)).with_context(|| format!("{name}: cargo xtask guests"));
        let kinds = [read("rbac.wasm")?, read("examples/read-only.wasm")?];
        let versions = (b'a'..).zip(kinds.iter().cycle()).take(VERSIONS);
        let versions = versions.map(|(stamp, kind)| stamped(kind, &[stamp])).collect();
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut place = Self {
            directory: directory.to_owned(),
            programs: programs.to_owned(),
            versions,
            more: more.to_owned(),
            upstream: upstream.to_owned(),
            door: Door { address, path: "/mcp".to_owned(), credential: Default::default() },
            person: String::new(),
            starter: &[],
        };
        fs::write(directory.join("api-key.wasm"), read("api-key.wasm")?)?;
        for release in ["a", "b"] {
            fs::create_dir_all(directory.join("releases").join(release))?;
        }
        fs::write(directory.join("releases/a/rules.wasm"), place.version(0)?)?;
        symlink("releases/a", directory.join("current"))?;
        fs::write(directory.join("witgate.toml"), place.configuration(0))?;
        let key = place.make_key("somebody", "keys-0.toml", &role(0))?;
        let store = fs::read_to_string(directory.join("keys-0.toml"))?;
        for config in 1..CONFIGS {
            fs::write(directory.join(format!("keys-{config}.toml")), store.replace(&role(0), &role(config)))?;
        }
        place.door.credential = ("X-API-Key".to_owned(), key);
        place.person = place.make_key("person", "people.toml", "user")?;
        Ok(place)
    }

    /// Has another program start the gateway. Its arguments are followed by the command to serve.
    pub(crate) fn started_by(self, starter: &'static [&'static str]) -> Self {
        Self { starter, ..self }
    }

    /// A key with the role `user`, in `people.toml`, a store that no configuration changes.
    pub(crate) fn person(&self) -> &str {
        &self.person
    }

    /// Adds the shipped components.
    pub(crate) fn add_components(&self, root: &Path, names: &[&str]) -> Result<()> {
        for name in names {
            fs::copy(root.join("target/plugins").join(name), self.path(name))?;
        }
        Ok(())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A new component that behaves as `state` says.
    pub(crate) fn unseen(&self, state: State, number: usize) -> Result<Vec<u8>> {
        Ok(stamped(self.version(state.version)?, format!("unseen {number}").as_bytes()))
    }

    pub(crate) fn version(&self, number: usize) -> Result<&[u8]> {
        self.versions.get(number).map(Vec::as_slice).context("there are four versions")
    }

    /// Makes a key, and returns it. A running gateway may not use it yet.
    pub(crate) fn make_key(&self, name: &str, store: &str, role: &str) -> Result<String> {
        let mut create = self.witgate(&["key", "create", name, "--allow", "*", "--role", role, "--json"]);
        let output =
            run(create.args(["--store", store, "--wait", "0s"]), QUICK).context("no key was made")?;
        let document: Value = serde_json::from_str(&output)?;
        Ok(document.get("key").and_then(Value::as_str).context("no key")?.to_owned())
    }

    /// A command of the program under test.
    pub(crate) fn witgate(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("witgate"));
        command.args(arguments).current_dir(&self.directory).env_remove("RUST_LOG");
        command.env("WITGATE_CACHE", self.directory.join("cache"));
        command
    }

    /// Changes the files to a state, and returns the time of the last change to a file.
    pub(crate) fn change(&self, way: Way, to: State) -> Result<Instant> {
        self.change_with(way, to, self.version(to.version)?)
    }

    /// As [`Self::change`], with a component that behaves as `to` says.
    pub(crate) fn change_with(&self, way: Way, to: State, component: &[u8]) -> Result<Instant> {
        match way {
            Way::Config => self.rename("witgate.toml", self.configuration(to.config).as_bytes()),
            Way::Rename => self.rename("current/rules.wasm", component),
            Way::InPlace => {
                fs::write(self.path("current/rules.wasm"), component)?;
                Ok(Instant::now())
            }
            Way::Flip => {
                let link = self.path("current");
                let other = if fs::read_link(&link)?.ends_with("a") { "releases/b" } else { "releases/a" };
                fs::write(self.path(other).join("rules.wasm"), component)?;
                let new = self.path("current.new");
                symlink(other, &new)?;
                let start = Instant::now();
                fs::rename(new, link)?;
                Ok(start)
            }
        }
    }

    /// Replaces a file atomically, and returns the time.
    pub(crate) fn rename(&self, name: &str, content: &[u8]) -> Result<Instant> {
        let (file, new) = (self.path(name), self.path("written-beside"));
        fs::write(&new, content)?;
        let start = Instant::now();
        fs::rename(new, file)?;
        Ok(start)
    }

    /// The configuration with one of the two sets of rules.
    pub(crate) fn configuration(&self, config: usize) -> String {
        let (address, upstream, more) = (&self.door.address, &self.upstream, &self.more);
        let rules = rules(config);
        format!(
            r#"[server]
listen = "{address}"

[upstreams.{JUDGED}]
url = "http://{upstream}/mcp"
path = "/mcp"
pipeline = {{ authenticate = ["keys"], authorize = ["rules"] }}

# The bounds are for what a busy machine does meanwhile, not for what a check takes.
[policies.keys]
kind = "api-key"
component = "api-key.wasm"
limits = {{ timeout_ms = 20000 }}
config = {{ store = "keys-{config}.toml" }}

[policies.rules]
kind = "rbac"
component = "current/rules.wasm"
limits = {{ timeout_ms = 20000 }}
config = {rules}

{more}"#
        )
    }

    /// Starts the gateway, and returns once it has answered.
    pub(crate) fn start(&self) -> Result<Gateway> {
        let mut serve = self.witgate(&["serve", "--json"]);
        if let Some((program, arguments)) = self.starter.split_first() {
            let mut starter = Command::new(program);
            starter
                .args(arguments)
                .arg(serve.get_program())
                .args(serve.get_args())
                .current_dir(&self.directory);
            for (name, value) in serve.get_envs() {
                match value {
                    Some(value) => starter.env(name, value),
                    None => starter.env_remove(name),
                };
            }
            serve = starter;
        }
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = serve.spawn().with_context(|| format!("cannot start {serve:?}"))?;
        let (audit, log) = (Audit::default(), child.stderr.take().context("it has a stderr")?);
        audit.read(log, JUDGED);
        let mut gateway = Gateway { child, audit };
        let start_time = Instant::now();
        while start_time.elapsed() < START && !gateway.has_ended() {
            if Caller::connect(&self.door).is_ok() {
                return Ok(gateway);
            }
            thread::sleep(GLANCE);
        }
        bail!("witgate does not answer:\n{}", gateway.audit.tail())
    }

    /// The numbers of the generations that a rollback can choose.
    pub(crate) fn kept_generations(&self) -> Result<Vec<u64>> {
        let list = self.plugin_list()?;
        let generations = list.get("generations").and_then(Value::as_array).context("no generations")?;
        Ok(generations.iter().filter_map(|generation| generation.get("generation")?.as_u64()).collect())
    }

    fn plugin_list(&self) -> Result<Value> {
        let output = run(&mut self.witgate(&["plugin", "list", "--json"]), QUICK)?;
        Ok(serde_json::from_str(&output)?)
    }

    /// True if `policy` of the live generation is this component.
    fn runs(&self, policy: &str, component: &[u8]) -> Result<bool> {
        let list = self.plugin_list()?;
        let policies = list.get("policies").and_then(Value::as_array).context("no policies")?;
        let named = policies.iter().find(|found| found.get("name").and_then(Value::as_str) == Some(policy));
        let live = named.and_then(|found| found.get("digest")?.as_str());
        Ok(live == Some(digest(component).as_str()))
    }

    /// The number of instances of the live generation.
    pub(crate) fn instances(&self) -> Result<u64> {
        let list = self.plugin_list()?;
        let policies = list.get("policies").and_then(Value::as_array).context("no policies")?;
        Ok(policies.iter().filter_map(|policy| policy.get("instances")?.as_u64()).sum())
    }
}

/// Starts the upstream, which answers every call.
pub(crate) fn upstream(programs: &Path) -> Result<Server> {
    Server::announced(&mut Command::new(programs.join("plain-upstream")))
}

/// A component with another digest: with a custom section added.
fn stamped(component: &[u8], stamp: &[u8]) -> Vec<u8> {
    let mut bytes = component.to_vec();
    let length = |of: usize| u8::try_from(of).unwrap_or(u8::MAX);
    // A longer section would need more than one byte for its length.
    let stamp = stamp.get(..100).unwrap_or(stamp);
    bytes.extend([0, length(stamp.len() + 2), 1, b'x']);
    bytes.extend(stamp);
    bytes
}

/// A running gateway; it ends when this value is dropped.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) audit: Audit,
}

impl Gateway {
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn vitals(&self) -> Result<Vitals> {
        Vitals::of(self.child.id())
    }

    /// True if the gateway has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        terminate(self.child.id());
        for _ in 0..300 {
            if self.has_ended() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The author of the changes, with a connection of its own to see each change come into force.
pub(crate) struct Driver<'a> {
    place: &'a Place,
    audit: Audit,
    timeline: Arc<Timeline>,
    caller: Caller,
    pub(crate) state: State,
    /// The number of the driver's own calls.
    pub(crate) calls: u64,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(place: &'a Place, gateway: &Gateway, state: State) -> Result<Self> {
        let caller = Caller::connect(&place.door)?;
        let timeline = Arc::new(Timeline::new(state));
        let audit = gateway.audit.clone();
        audit.name_first(state);
        Ok(Self { place, audit, timeline, caller, state, calls: 0 })
    }

    pub(crate) fn timeline(&self) -> &Arc<Timeline> {
        &self.timeline
    }

    /// Makes the next change in this way, and waits until an answer shows it. Returns the time since the last change
    /// to a file.
    pub(crate) fn swap(&mut self, way: Way) -> Result<Duration> {
        let to = way.next(self.state);
        self.bring_about(to, |place| place.change(way, to))
    }

    /// As [`Self::swap`], for any change.
    pub(crate) fn bring_about(
        &mut self,
        to: State,
        change: impl FnOnce(&Place) -> Result<Instant>,
    ) -> Result<Duration> {
        let (before, was) = (self.audit.live(), self.state);
        self.timeline.begin(to);
        let start = change(self.place)?;
        self.await_shown(was, to, start).with_context(|| format!("from {was:?} to {to:?}"))?;
        let took = start.elapsed();
        self.timeline.show();
        self.state = to;
        // The log line comes after the flip.
        self.await_live(before)?;
        self.audit.name(before, was, to);
        Ok(took)
    }

    /// Makes a change in the directory of no gateway, and then calls as after a change in its own.
    pub(crate) fn change_elsewhere(&mut self, elsewhere: &Place, way: Way, to: State) -> Result<()> {
        elsewhere.change(way, to)?;
        for tool in TOOLS.into_iter().take(LOOKS) {
            self.calls += 1;
            let verdict = self.caller.call(tool)?.verdict()?;
            ensure!(verdict == self.state.verdict(tool), "{tool}: {verdict:?}, and nothing was changed");
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// The numbers of the generations that a rollback can choose.
    pub(crate) fn kept_generations(&self) -> Result<Vec<u64>> {
        self.place.kept_generations()
    }

    /// The generation that is live.
    pub(crate) fn live(&self) -> u64 {
        self.audit.live()
    }

    /// Replaces the component of `policy` without any effect on the answers. Returns true if the gateway took it.
    pub(crate) fn offer(&mut self, policy: &str, component: &[u8], longest: Duration) -> Result<bool> {
        let (mut before, (_, refused)) = (self.audit.live(), self.audit.candidates());
        let file = format!("{policy}.wasm");
        let start = self.place.rename(&file, component)?;
        while start.elapsed() < longest {
            let live = self.audit.live();
            if live > before {
                self.audit.name(before, self.state, self.state);
                // The generation may be a late one of the change before.
                if self.place.runs(policy, component)? {
                    return Ok(true);
                }
                before = live;
            }
            if self.audit.candidates().1 > refused {
                return Ok(false);
            }
            thread::sleep(GLANCE);
        }
        bail!("{file} was neither taken nor refused:\n{}", self.audit.tail())
    }

    fn await_shown(&mut self, was: State, to: State, start: Instant) -> Result<()> {
        let Some(tool) = to.tool_that_tells(was) else { return Ok(()) };
        while start.elapsed() < PATIENCE {
            self.calls += 1;
            let verdict = self.caller.call(tool)?.verdict()?;
            if verdict == to.verdict(tool) {
                return Ok(());
            }
            if verdict != was.verdict(tool) && !was.shows_on_the_way_to(to, &verdict) {
                bail!("{tool}: {verdict:?}, which is neither what was nor what is to come");
            }
            thread::sleep(GLANCE);
        }
        bail!("not in force after {} s:\n{}", PATIENCE.as_secs(), self.audit.tail())
    }

    fn await_live(&self, before: u64) -> Result<()> {
        let start = Instant::now();
        while self.audit.live() == before {
            if start.elapsed() > PATIENCE {
                bail!("no new generation is in the log:\n{}", self.audit.tail());
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }
}
