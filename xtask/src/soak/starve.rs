//! Descriptors, threads, memory, disk and notifications are taken away from a gateway and given back, at random and under
//! load, while keys are revoked, rules edited and components replaced. Whatever is short: once it is there again,
//! everything that was changed is in force within seconds, and nothing is ever allowed that is not.

mod callers;
mod keys;
mod random;
mod report;
mod sandbox;
mod shortage;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::stress::Profile;
use crate::stress::caller::Caller;
use crate::stress::gateway::{Gateway, Place, Way, upstream};
use crate::stress::state::State;
use crate::stress::timeline::Timeline;
use callers::Callers;
use keys::{Keys, NO_WAIT, Revocation};
use random::Random;
use report::Report;
use shortage::{Kind, Means, Taken};

const MINUTES: u64 = 10;

/// Maximum number of seconds between the shortage and the change's effect: a revocation, and an edited rule.
const IN_FORCE_S: u64 = 5;

/// Time after which a change counts as lost: a component is compiled in seconds, on a busy machine in a
/// minute.
const LOST: Duration = Duration::from_secs(150);

/// The longest that something is short once everything is changed.
const LONGEST_MS: u64 = 4000;

/// A thread that waits for work is kept for ten seconds.
const THREADS_END: Duration = Duration::from_secs(11);

/// Between two looks at whether something is in force.
const GLANCE: Duration = Duration::from_millis(10);

/// The directory of files that share a small disk, within the directory of the gateway.
const SMALL: &str = "small";

/// The options.
pub(super) struct Arguments {
    time: Duration,
    seed: u64,
    /// Time limit for revocations and edited rules to be in force.
    within: Duration,
    profile: Profile,
    /// Programs that are built already.
    programs: Option<PathBuf>,
    /// The resources to take away.
    kinds: Vec<Kind>,
    /// The directory of the components, where that is not the workspace.
    root: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn parse(arguments: &[&str]) -> Result<Self> {
        let seed = u64::from(std::process::id());
        let time = Duration::from_secs(MINUTES * 60);
        let mut parsed = Self {
            time,
            seed,
            within: Duration::from_secs(IN_FORCE_S),
            profile: Profile::Release,
            programs: None,
            kinds: Kind::ALL.into(),
            root: None,
        };
        for pair in arguments.chunks(2) {
            match *pair {
                ["--minutes", number] => parsed.time = Duration::from_secs(number.parse::<u64>()? * 60),
                ["--seconds", number] => parsed.time = Duration::from_secs(number.parse()?),
                ["--within", number] => parsed.within = Duration::from_secs(number.parse()?),
                ["--seed", number] => parsed.seed = number.parse()?,
                ["--profile", name] => parsed.profile = Profile::named(name)?,
                ["--programs", directory] => parsed.programs = Some(directory.into()),
                ["--kinds", names] => parsed.kinds = Kind::named(names)?,
                ["--root", directory] => parsed.root = Some(directory.into()),
                _ => bail!(
                    "usage: cargo xtask soak --starve [--minutes N | --seconds N] [--seed N] [--profile release|dev] \
                     [--programs DIRECTORY] [--kinds KIND,KIND] [--within SECONDS]"
                ),
            }
        }
        Ok(parsed)
    }
}

/// Runs and reports, as a user of its own where it can be.
pub(super) fn run(root: &Path, arguments: Arguments) -> Result<()> {
    let programs = match &arguments.programs {
        Some(programs) => programs.clone(),
        None => arguments.profile.build(root)?,
    };
    let root = arguments.root.as_deref().unwrap_or(root);
    if let Some(ended) = sandbox::enter(root, &programs, &arguments)? {
        return ended;
    }
    let directory = tempfile::tempdir()?;
    let upstream = upstream(&programs)?;
    let means = Means::find(&directory.path().join(SMALL), arguments.kinds)?;
    let place =
        Place::set(root, directory.path(), &programs, &upstream.address, &configuration(&upstream.address))?;
    let place = place.started_by(means.starter());
    place.add_components(root, &["rbac.wasm"])?;
    move_to_small_disk(directory.path())?;
    println!("seed {}; what can be taken away: {means}", arguments.seed);
    let mut gateway = place.start()?;
    let starving = Starving::new(&place, &means, arguments.seed, arguments.within)?;
    let report = starving.starve(&mut gateway, arguments.time);
    let report = report.with_context(|| format!("witgate's log:\n{}", gateway.audit.tail()))?;
    println!("{report}");
    report.conclude().with_context(|| format!("witgate's log:\n{}", gateway.audit.tail()))
}

/// Beside the pipeline that is judged, one for people whose keys are revoked.
fn configuration(upstream: &str) -> String {
    format!(
        r#"[upstreams.people]
url = "http://{upstream}/mcp"
path = "/people"
pipeline = {{ authenticate = ["people"], authorize = ["everything"] }}

[policies.people]
kind = "api-key"
component = "api-key.wasm"
limits = {{ timeout_ms = 20000 }}
config = {{ store = "{SMALL}/people.toml" }}

[policies.everything]
kind = "rbac"
component = "rbac.wasm"
limits = {{ timeout_ms = 20000 }}
config = {{ roles = {{ user = {{ allow = ["*"] }} }} }}
"#
    )
}

/// The store, the state and the cache lie where space can be taken away.
fn move_to_small_disk(directory: &Path) -> Result<()> {
    let small = directory.join(SMALL);
    std::fs::rename(directory.join("people.toml"), directory.join("moved.toml"))?;
    std::fs::copy(directory.join("moved.toml"), small.join("people.toml"))?;
    for (name, link) in [("state", "witgate.state"), ("cache", "cache")] {
        std::fs::create_dir_all(small.join(name))?;
        let link = directory.join(link);
        if link.exists() {
            std::fs::remove_dir_all(&link)?;
        }
        std::os::unix::fs::symlink(small.join(name), link)?;
    }
    Ok(())
}

/// One round after the other.
struct Starving<'a> {
    place: &'a Place,
    means: &'a Means,
    within: Duration,
    random: Random,
    keys: Keys<'a>,
    state: State,
    changes: usize,
    timeline: Arc<Timeline>,
    report: Report,
}

impl<'a> Starving<'a> {
    fn new(place: &'a Place, means: &'a Means, seed: u64, within: Duration) -> Result<Self> {
        let state = State::FIRST;
        let (timeline, random) = (Arc::new(Timeline::new(state)), Random::new(seed));
        let keys = Keys::new(place, means.silent())?;
        Ok(Self {
            place,
            means,
            within,
            random,
            keys,
            state,
            changes: 0,
            timeline,
            report: Report::default(),
        })
    }

    fn starve(mut self, gateway: &mut Gateway, time: Duration) -> Result<Report> {
        // Whatever is compiled once is not what is waited for below.
        for way in [Way::Rename, Way::InPlace, Way::Flip, Way::Rename, Way::Config, Way::Config] {
            self.change(way)?;
            self.await_change("nothing", Instant::now())?;
        }
        let mut callers = Callers::start(&self.place.door, &self.timeline);
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.keys.make_ready()?;
            let short = self.round(gateway, &callers)?;
            if gateway.has_ended() {
                self.report.restarted(&short, &gateway.audit.tail());
                *gateway = self.place.start()?;
            }
            self.report.panicked(&short, gateway.audit.panics());
            self.keys.check_earlier(&mut self.random, &mut self.report);
            if self.random.one_in(4) {
                thread::sleep(Duration::from_millis(self.random.below(1000)));
            }
        }
        self.keys.check_all(&mut self.report);
        callers.stop();
        self.report.seen(&callers);
        Ok(self.report)
    }

    /// Something is short for a while, and things are changed meanwhile. Returns what it was.
    fn round(&mut self, gateway: &Gateway, callers: &Callers) -> Result<String> {
        let kinds = self.means.choose(&mut self.random);
        let name = kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" and ");
        let mut taken = Vec::new();
        callers.shortage_begins();
        for kind in &kinds {
            taken.push(self.means.take(
                *kind,
                gateway.process(),
                &self.place.door.address,
                &mut self.random,
            )?);
            self.pause(300);
        }
        // By then even the threads that waited for work have ended.
        let is_long = self.random.one_in(6);
        if is_long {
            thread::sleep(THREADS_END);
        }
        let way = *self.random.among(&Way::ALL);
        let mut revocations = Vec::new();
        let late = self.random.one_in(2);
        if !late {
            self.change(way)?;
            self.pause(500);
        }
        for _ in 0..=self.random.below(2) {
            let silently = kinds.contains(&Kind::Notifications) && !kinds.contains(&Kind::Disk);
            let wait = *self.random.among(&[NO_WAIT, "1s", "3s"]);
            revocations.push(self.keys.revoke(silently, wait)?);
            self.pause(300);
        }
        if late {
            self.change(way)?;
        }
        self.pause(LONGEST_MS);
        self.random.shuffle(&mut taken);
        taken.into_iter().try_for_each(Taken::give_back)?;
        let end = Instant::now();
        callers.shortage_ends();
        self.report.shortage(&name);
        for revocation in revocations {
            self.await_revocation(&name, revocation, end)?;
        }
        self.await_change(&name, end)?;
        Ok(name)
    }

    fn pause(&mut self, longest_ms: u64) {
        thread::sleep(Duration::from_millis(self.random.below(longest_ms)));
    }

    fn change(&mut self, way: Way) -> Result<()> {
        let to = way.next(self.state);
        self.timeline.begin(to);
        // Half of the components were never compiled before.
        self.changes += 1;
        match self.random.one_in(2) {
            true => self.place.change_with(way, to, &self.place.unseen(to, self.changes)?)?,
            false => self.place.change(way, to)?,
        };
        self.report.changing(way, self.state);
        self.state = to;
        Ok(())
    }

    /// Waits until an answer shows the last change.
    fn await_change(&mut self, shortage: &str, end: Instant) -> Result<()> {
        let Some((way, was)) = self.report.change() else { return Ok(()) };
        let Some(tool) = self.state.tool_that_tells(was) else { return Ok(()) };
        let (mut caller, begun) = (None, Instant::now());
        while end.elapsed() < LOST {
            let verdict = call(&mut caller, &self.place.door, tool);
            if verdict.is_some_and(|verdict| verdict == self.state.verdict(tool)) {
                self.timeline.show();
                let bound = if way == Way::Config { self.within } else { LOST };
                self.report.changed(shortage, way, end.elapsed().max(begun.elapsed()), bound);
                return Ok(());
            }
            thread::sleep(GLANCE);
        }
        self.report.lost(format!("{way:?} to {:?} during a shortage of {shortage}", self.state));
        Ok(())
    }

    fn await_revocation(&mut self, shortage: &str, revocation: Revocation, end: Instant) -> Result<()> {
        let revocation = match revocation {
            // The command said that it could not: then nothing has changed, and it can now.
            Revocation::Failed(key) => {
                self.report.said_that_it_could_not(shortage);
                self.keys.revoke_again(key, "10s")?
            }
            written => written,
        };
        let Revocation::Written { key, at, confirmed } = revocation else {
            self.report.lost(format!("a key cannot be revoked after a shortage of {shortage}"));
            return Ok(());
        };
        let from = end.max(at);
        let mut caller = None;
        while from.elapsed() < LOST {
            match call(&mut caller, &key.door, keys::TOOL) {
                Some(verdict) if keys::is_revoked(&verdict) => {
                    self.report.revoked(shortage, from.elapsed(), self.within);
                    self.keys.add_revoked(key);
                    return Ok(());
                }
                Some(verdict) if confirmed && keys::is_allowed(&verdict) => {
                    self.report
                        .wrong(format!("`key revoke` said that {} is refused, and it is not", key.name));
                    self.keys.add_revoked(key);
                    return Ok(());
                }
                _ => thread::sleep(GLANCE),
            }
        }
        self.report.lost(format!("the revocation of {} during a shortage of {shortage}", key.name));
        Ok(())
    }
}

/// The verdict of an answer, on a connection that is made anew where it broke. None: no answer just now.
fn call(
    caller: &mut Option<Caller>,
    door: &crate::stress::caller::Door,
    tool: &str,
) -> Option<crate::stress::state::Verdict> {
    let mut connected = match caller.take() {
        Some(caller) => caller,
        None => Caller::connect(door).ok()?,
    };
    let verdict = connected.call(tool).and_then(|answer| answer.verdict()).ok()?;
    *caller = Some(connected);
    Some(verdict)
}
