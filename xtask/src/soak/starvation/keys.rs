//! Keys that will be revoked, and keys that were: a revoked key is never valid again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::call::{GLANCE, LOST, call};
use super::random::Random;
use super::report::Report;
use super::shortage::SMALL;
use crate::stress::caller::Door;
use crate::stress::gateway::Place;
use crate::stress::state::Verdict;
use witgate_build::process::{attempt, run};

/// The tool for trying people's keys.
pub(super) const TOOL: &str = "anything";

/// The value of `--wait` for a command that does not ask whether its change is in force.
pub(super) const NO_WAIT: &str = "0s";

/// The exit code of a command whose change is not in force.
const NOT_IN_FORCE: i32 = 75;

/// The number of valid keys at the start of a round: one round revokes no more.
const READY: usize = 3;

/// Time limit for a command that reads and writes a file, and asks a gateway that may lack every resource.
const COMMAND: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) door: Door,
}

/// The outcome of a command to revoke a key.
pub(super) enum Revocation {
    /// The store contains the revocation.
    Written {
        key: Key,
        at: Instant,
        /// True if the command said that the gateway refuses the key.
        confirmed: bool,
    },
    /// The command said that it could not write the store.
    Failed(Key),
}

pub(super) struct Keys<'a> {
    place: &'a Place,
    store: String,
    /// Another link to the store, in a directory that nobody watches.
    silent: PathBuf,
    ready: Vec<Key>,
    revoked: Vec<Key>,
    made: usize,
}

pub(super) fn is_revoked(verdict: &Verdict) -> bool {
    *verdict == Verdict::refused("revoked")
}

pub(super) fn is_allowed(verdict: &Verdict) -> bool {
    *verdict == Verdict::Allowed
}

impl<'a> Keys<'a> {
    pub(super) fn new(place: &'a Place, silent: &Path) -> Result<Self> {
        let store = format!("{SMALL}/people.toml");
        Ok(Self { place, store, silent: silent.to_owned(), ready: Vec::new(), revoked: Vec::new(), made: 0 })
    }

    /// Makes as many keys as a round may revoke, and waits until they are valid.
    pub(super) fn make_ready(&mut self, report: &mut Report, within: Duration) -> Result<()> {
        while self.ready.len() < READY {
            self.made += 1;
            let name = format!("brief-{}", self.made);
            let key = self.place.make_key(&name, &self.store, "user")?;
            let credential = ("X-API-Key".to_owned(), key);
            let door = Door { credential, path: "/people".to_owned(), ..self.place.door.clone() };
            self.ready.push(Key { name, door });
        }
        let start = Instant::now();
        for key in &self.ready {
            let mut caller = None;
            while !call(&mut caller, &key.door, TOOL).is_some_and(|verdict| is_allowed(&verdict)) {
                ensure!(start.elapsed() < LOST, "{} is not good after {LOST:?}", key.name);
                std::thread::sleep(GLANCE);
            }
        }
        report.keys_good(start.elapsed(), within);
        Ok(())
    }

    /// Revokes a key, with the given `--wait`. `silently` has the change bring no notification.
    pub(super) fn revoke(&mut self, silently: bool, wait: &str) -> Result<Revocation> {
        let key = self.ready.pop().context("there are as many as are revoked")?;
        match silently {
            true => self.revoke_silently(key),
            false => self.revoke_again(key, wait),
        }
    }

    pub(super) fn revoke_again(&self, key: Key, wait: &str) -> Result<Revocation> {
        let arguments = ["key", "revoke", &key.name, "--store", &self.store, "--wait", wait];
        let end = attempt(&mut self.place.witgate(&arguments), COMMAND)?;
        let at = Instant::now();
        let revocation = |confirmed| Ok(Revocation::Written { key: key.clone(), at, confirmed });
        match end.code() {
            Some(0) => revocation(wait != NO_WAIT),
            Some(NOT_IN_FORCE) => revocation(false),
            _ => Ok(Revocation::Failed(key)),
        }
    }

    /// Writes to the file itself, through a name in a directory that nobody watches.
    fn revoke_silently(&self, key: Key) -> Result<Revocation> {
        let (link, copy) = (self.silent.join("link.toml"), self.silent.join("copy.toml"));
        drop(fs::remove_file(&link));
        let store = self.place.path(&self.store);
        fs::hard_link(&store, &link)?;
        fs::copy(&store, &copy)?;
        let name = copy.to_str().context("a name in UTF-8")?;
        let arguments = ["key", "revoke", &key.name, "--store", name, "--wait", NO_WAIT];
        run(&mut self.place.witgate(&arguments), COMMAND)?;
        fs::write(link, fs::read(copy)?)?;
        Ok(Revocation::Written { key, at: Instant::now(), confirmed: false })
    }

    pub(super) fn add_revoked(&mut self, key: Key) {
        self.revoked.push(key);
    }

    /// Checks a random key of all that were ever revoked.
    pub(super) fn check_earlier(&self, random: &mut Random, report: &mut Report) {
        if !self.revoked.is_empty() {
            check(random.among(&self.revoked), report);
        }
    }

    pub(super) fn check_all(&self, report: &mut Report) {
        self.revoked.iter().for_each(|key| check(key, report));
    }
}

fn check(key: &Key, report: &mut Report) {
    if call(&mut None, &key.door, TOOL).is_some_and(|verdict| is_allowed(&verdict)) {
        report.wrong(format!("{} was revoked, and is good again", key.name));
    }
}
