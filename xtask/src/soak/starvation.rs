//! A soak without resources: descriptors, threads, memory, disk and notifications are taken away from a gateway and
//! given back, at random and under load, while keys are revoked, rules edited and components replaced. Once a shortage
//! ends, all changes must be in force within seconds. No call may ever be allowed that the rules deny.

mod arguments;
mod call;
mod callers;
mod keys;
mod random;
mod report;
mod sandbox;
mod shortage;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::stress::gateway::{Gateway, Place, Way, upstream};
use crate::stress::state::State;
use crate::stress::timeline::Timeline;
use call::{GLANCE, LOST, call};
use callers::Callers;
use keys::{Keys, NO_WAIT, Revocation};
use random::Random;
use report::Report;
use shortage::{Kind, Means, SMALL, Taken};

pub(super) use arguments::Arguments;

/// The longest time for which a shortage goes on after the last change.
const LONGEST_MS: u64 = 4000;

/// Longest life of an idle thread, and a second more: the pool keeps a thread for ten seconds.
const THREADS_END: Duration = Duration::from_secs(11);

/// Runs and reports, as a user of its own if possible.
pub(super) fn run(root: &Path, arguments: Arguments) -> Result<()> {
    let programs = match &arguments.programs {
        Some(programs) => programs.clone(),
        None => arguments.profile.build(root)?,
    };
    let root = arguments.root.as_deref().unwrap_or(root);
    if let Some(result) = sandbox::enter(root, &programs, &arguments)? {
        return result;
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

/// The configuration: beside the pipeline that is judged, one for people whose keys are revoked.
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

/// Moves the store, the state and the cache to the disk whose space can be taken away.
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

/// The rounds of the soak, one after the other.
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
        // Compiles the components before the rounds, so that no later wait includes it.
        for way in [Way::Rename, Way::InPlace, Way::Flip, Way::Rename, Way::Config, Way::Config] {
            self.change(way)?;
            self.await_change("nothing", Instant::now())?;
        }
        let mut callers = Callers::start(&self.place.door, &self.timeline);
        let start = Instant::now();
        while start.elapsed() < time {
            self.keys.make_ready(&mut self.report, self.within)?;
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

    /// Makes a shortage for a while, with changes meanwhile. Returns the name of the shortage.
    fn round(&mut self, gateway: &Gateway, callers: &Callers) -> Result<String> {
        let kinds = self.means.choose(&mut self.random);
        let name = kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" and ");
        let mut shortages = Vec::new();
        callers.shortage_begins();
        for kind in &kinds {
            shortages.push(self.means.take(
                *kind,
                gateway.process(),
                &self.place.door.address,
                &mut self.random,
            )?);
            self.pause(300);
        }
        // A long shortage outlasts idle threads.
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
        self.random.shuffle(&mut shortages);
        shortages.into_iter().try_for_each(Taken::give_back)?;
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
        // Half of the components are new to the compiler.
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
        let (mut caller, start) = (None, Instant::now());
        while end.elapsed() < LOST {
            let verdict = call(&mut caller, &self.place.door, tool);
            if verdict.is_some_and(|verdict| verdict == self.state.verdict(tool)) {
                self.timeline.show();
                let bound = if way == Way::Config { self.within } else { LOST };
                self.report.changed(shortage, way, end.elapsed().max(start.elapsed()), bound);
                return Ok(());
            }
            thread::sleep(GLANCE);
        }
        self.report.lost(format!("{way:?} to {:?} during a shortage of {shortage}", self.state));
        Ok(())
    }

    fn await_revocation(&mut self, shortage: &str, revocation: Revocation, end: Instant) -> Result<()> {
        let revocation = match revocation {
            // The command said that it could not write: then nothing has changed, and it must work now.
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
