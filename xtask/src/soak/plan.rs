//! The changes of the soak: one after the other, so that the state in force is known.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::hostile::{FAULTY, Hostile};
use super::side::Live;
use crate::stress::caller::{Caller, Door};
use crate::stress::gateway::{Driver, Place, Way};
use crate::stress::state::{State, Verdict};
use witgate_build::process::run;

/// Time limit for a change. The compiler gives up on a component that is too much for it after a minute of processor
/// time, in competition with the rest of the soak.
const LONGEST: Duration = Duration::from_secs(330);

/// Time limit for a command that reads and writes a file.
const QUICK: Duration = Duration::from_secs(30);

/// Time for which a malicious component gets its calls.
const HARM: Duration = Duration::from_millis(400);

/// Time limit for a revocation to be in force, which takes much less.
const REVOKED: Duration = Duration::from_secs(5);

pub(super) struct Plan<'a> {
    place: &'a Place,
    hostile: &'a Hostile,
    live: Arc<Live>,
    /// The state of the files, for comparison with a rollback.
    files: State,
    /// The live state after each step.
    earlier: Vec<(u64, State)>,
    number: usize,
    revoked: Vec<Door>,
    done: BTreeMap<&'static str, u64>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(place: &'a Place, hostile: &'a Hostile, live: &Arc<Live>) -> Self {
        Self {
            place,
            hostile,
            live: Arc::clone(live),
            files: State::FIRST,
            earlier: Vec::new(),
            number: 0,
            revoked: Vec::new(),
            done: BTreeMap::new(),
        }
    }

    /// The number of actions of each kind.
    pub(super) fn done(&self) -> &BTreeMap<&'static str, u64> {
        &self.done
    }

    pub(super) fn step(&mut self, driver: &mut Driver<'_>) -> Result<()> {
        self.number += 1;
        match self.number % 12 {
            4 => self.roll_back(driver),
            // The next change ends a rollback.
            8 => self.replace_hostile(driver),
            10 => self.revoke(driver),
            _ => self.swap(driver),
        }?;
        self.check_revoked()
    }

    fn swap(&mut self, driver: &mut Driver<'_>) -> Result<()> {
        let way = Way::ALL.get(self.number % Way::ALL.len()).copied().unwrap_or(Way::Rename);
        self.files = way.next(self.files);
        let to = self.files;
        driver.bring_about(to, |place| place.change(way, to)).with_context(|| format!("{way:?}"))?;
        self.did("swaps", driver);
        Ok(())
    }

    fn roll_back(&mut self, driver: &mut Driver<'_>) -> Result<()> {
        // A generation that only restricted the former one, while a component was compiled, is not kept.
        let kept = driver.kept_generations()?;
        let mut earlier = self.earlier.iter().rev().filter(|(generation, _)| kept.contains(generation));
        let Some((generation, state)) = earlier.nth(1).copied() else { return Ok(()) };
        let number = generation.to_string();
        driver.bring_about(state, |place| {
            run(&mut place.witgate(&["plugin", "rollback", "--to", &number]), QUICK)?;
            Ok(Instant::now())
        })?;
        self.did("rollbacks", driver);
        // The next change affects the files, whatever the target of the rollback was.
        self.number += 1;
        self.swap(driver)
    }

    fn replace_hostile(&mut self, driver: &mut Driver<'_>) -> Result<()> {
        let number = self.done.get("hostile components").copied().unwrap_or_default();
        let (name, bytes) = self.hostile.nth(usize::try_from(number)?).context("there is one at least")?;
        self.live.set_hostile(None);
        let is_accepted = driver.offer("hostile", bytes, LONGEST).with_context(|| name.to_owned())?;
        if is_accepted {
            self.live.set_hostile(Some(name));
            thread::sleep(HARM);
        } else {
            *self.done.entry("hostile components that were refused").or_default() += 1;
            self.live.set_hostile(None);
            // Without this, no other component would go live.
            ensure!(driver.offer("hostile", self.hostile.faulty(), LONGEST)?, "`faulty` was refused");
            self.live.set_hostile(Some(FAULTY));
        }
        self.did("hostile components", driver);
        Ok(())
    }

    fn revoke(&mut self, driver: &mut Driver<'_>) -> Result<()> {
        let (state, name) = (driver.state, format!("brief-{}", self.number));
        let mut key = String::new();
        driver.bring_about(state, |place| {
            key = place.make_key(&name, "people.toml", "user")?;
            Ok(Instant::now())
        })?;
        let credential = ("X-API-Key".to_owned(), key);
        let door = Door { credential, path: "/crashing".to_owned(), ..self.place.door.clone() };
        let mut caller = Caller::connect(&door)?;
        if is_revoked(&mut caller)? {
            self.live.note_wrong(format!("{name} is refused before it is revoked"));
        }
        driver.bring_about(state, |place| {
            run(
                &mut place.witgate(&["key", "revoke", &name, "--store", "people.toml", "--wait", "0s"]),
                QUICK,
            )?;
            let start = Instant::now();
            while !is_revoked(&mut caller)? {
                if start.elapsed() > REVOKED {
                    bail!("{name} is good {} s after it was revoked", REVOKED.as_secs());
                }
            }
            Ok(start)
        })?;
        self.revoked.push(door);
        self.did("revocations", driver);
        Ok(())
    }

    /// Checks a random key of all that were ever revoked: neither a rollback nor anything else makes it valid again.
    fn check_revoked(&self) -> Result<()> {
        let Some(door) = self.revoked.iter().cycle().nth(self.number % self.revoked.len().max(1)) else {
            return Ok(());
        };
        if !is_revoked(&mut Caller::connect(door)?)? {
            self.live.note_wrong(format!("a revoked key is good again, after step {}", self.number));
        }
        Ok(())
    }

    fn did(&mut self, what: &'static str, driver: &Driver<'_>) {
        *self.done.entry(what).or_default() += 1;
        self.earlier.push((driver.live(), driver.state));
    }
}

fn is_revoked(caller: &mut Caller) -> Result<bool> {
    Ok(caller.call("anything")?.verdict()? == Verdict::refused("revoked"))
}
