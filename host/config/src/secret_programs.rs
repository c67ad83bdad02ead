//! Secrets that programs print, such as `vault kv get` and `sops -d`, and those of the keyring. Each has a lifetime, and
//! is renewed before it ends.

mod file_safety;
mod program;
mod run;
mod supplier;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use secrecy::{ExposeSecret as _, SecretString};

pub(crate) use self::program::SecretProgram;
use self::run::PROGRAM_TIME;
pub(crate) use self::supplier::SecretSupplier;

/// The number of programs whose values are kept. More than a configuration has; those of former configurations are
/// forgotten.
const MOST: usize = 256;

/// The number of programs that run for the first time side by side.
const MOST_AT_ONCE: usize = 32;

/// The shortest pause after a failure; each further failure doubles it.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

const LOOK_INTO_LOG: &str = "look into the log for the reason why it could not be renewed";

/// The time before the end of a lifetime that is left for a renewal: two runs, with pauses.
const LEFT: Duration = Duration::from_secs(30);

/// The end of a secret's use, which a renewal with the same value postpones.
#[derive(Clone, Debug)]
pub struct SecretLifetime {
    end: Arc<Mutex<Instant>>,
    /// The header or variable with the secret. None: it is in another setting.
    name: Option<Arc<str>>,
}

impl SecretLifetime {
    fn until(end: Instant) -> Self {
        Self { end: Arc::new(Mutex::new(end)), name: None }
    }

    /// The same lifetime, of the secret in the header or variable `name`.
    pub(crate) fn of_text(self, name: &str) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// True if the secret is in the header or variable `name`.
    pub fn is_of(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    /// True if the secret may not be used any more.
    pub fn is_over(&self) -> bool {
        self.is_over_at(Instant::now())
    }

    fn is_over_at(&self, now: Instant) -> bool {
        *self.end.lock() <= now
    }
}

impl PartialEq for SecretLifetime {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.end, &other.end)
    }
}

/// The reason why a program's secret cannot be used, and the advice.
#[derive(Debug)]
pub(crate) struct ProgramFault {
    pub(crate) message: String,
    pub(crate) help: String,
}

/// The values that programs have printed. Clones share them.
#[derive(Clone, Default)]
pub struct SecretPrograms(Arc<Mutex<KnownPrograms>>, Arc<Condvar>);

#[derive(Default)]
struct KnownPrograms {
    known: BTreeMap<SecretSupplier, PrintedSecret>,
    /// The number of changes so far.
    changes: u64,
}

/// The last result of a program.
struct PrintedSecret {
    value: Result<(SecretString, SecretLifetime), String>,
    /// The time of the next run.
    next: Instant,
    failures: u32,
    /// True if there was a value, whose lifetime is over.
    has_ended: bool,
    is_running: bool,
    /// True if its first run has not ended.
    is_new: bool,
    /// The last time at which a configuration asked for the value.
    asked: Instant,
}

impl std::fmt::Debug for SecretPrograms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretPrograms").finish_non_exhaustive()
    }
}

impl SecretPrograms {
    /// Asks `supplier` for the first time, and does not wait for the answer. False: it was asked before, or there is no
    /// thread for it.
    pub(crate) fn begin(&self, supplier: &SecretSupplier) -> bool {
        let now = Instant::now();
        let mut state = self.0.lock();
        if let Some(known) = state.known.get(supplier) {
            return known.is_new;
        }
        if state.known.values().filter(|known| known.is_new).count() >= MOST_AT_ONCE {
            return true;
        }
        let has_begun = self.run_beside(supplier.clone());
        if has_begun {
            state.make_room();
            state
                .known
                .insert(supplier.clone(), PrintedSecret { is_running: true, ..PrintedSecret::new(now) });
        }
        has_begun
    }

    /// Waits for the first runs that have begun, which have a time limit. False: it is over.
    pub(crate) fn await_first_runs(&self) -> bool {
        let deadline = Instant::now() + 2 * PROGRAM_TIME;
        let are_running = |state: &mut KnownPrograms| state.known.values().any(|known| known.is_new);
        !self.1.wait_while_until(&mut self.0.lock(), are_running, deadline).timed_out()
    }

    /// The value that `supplier` has given. The first time, it is asked now.
    ///
    /// # Errors
    /// If its last run has failed and its last value has ended.
    pub(crate) fn value(
        &self,
        supplier: &SecretSupplier,
    ) -> Result<(SecretString, SecretLifetime), ProgramFault> {
        let asked = Instant::now();
        let mut state = self.0.lock();
        // It may have begun for another reader.
        let is_new = |state: &mut KnownPrograms| state.known.get(supplier).is_some_and(|known| known.is_new);
        self.1.wait_while_until(&mut state, is_new, asked + 2 * PROGRAM_TIME);
        if let Some(known) = state.known.get_mut(supplier) {
            known.asked = asked;
            return known.current(supplier, asked);
        }
        drop(state);
        let printed = supplier.ask();
        let now = Instant::now();
        let mut state = self.0.lock();
        state.make_room();
        let known = state.known.entry(supplier.clone()).or_insert_with(|| PrintedSecret::new(asked));
        known.take(supplier, printed, now);
        known.current(supplier, now)
    }

    /// The number of changes so far: new values, and values whose lifetime has ended. A change is a reason to read the
    /// configuration again.
    pub fn changes(&self) -> u64 {
        self.0.lock().changes
    }

    /// Starts the runs that are due, each on a thread of its own, and notices the end of lifetimes. To be called every
    /// second.
    pub fn tend(&self) {
        let now = Instant::now();
        let mut state = self.0.lock();
        let KnownPrograms { known, changes } = &mut *state;
        for (supplier, printed) in known {
            *changes += u64::from(printed.end(supplier, now));
            if printed.is_due(now) {
                printed.is_running = self.run_beside(supplier.clone());
            }
        }
    }

    /// Forgets programs that no configuration has asked for since `then`.
    pub fn forget_unasked(&self, then: Instant) {
        self.0.lock().known.retain(|_, printed| printed.asked >= then || printed.is_running);
    }

    /// Asks a supplier on another thread. False: the system gives none.
    fn run_beside(&self, supplier: SecretSupplier) -> bool {
        let programs = self.clone();
        let run = move || {
            let printed = supplier.ask();
            let mut state = programs.0.lock();
            let KnownPrograms { known, changes } = &mut *state;
            if let Some(known) = known.get_mut(&supplier) {
                let is_new = known.is_new;
                let has_changed = known.take(&supplier, printed, Instant::now());
                // Nobody has used another value before the first run.
                *changes += u64::from(has_changed && !is_new);
            }
            programs.1.notify_all();
        };
        thread::Builder::new().name("secret".to_owned()).spawn(run).is_ok()
    }
}

/// The time after which a secret with this lifetime is renewed. Thirty seconds, or half of a shorter lifetime, are
/// left for a slow program and for further attempts.
fn renewal(lifetime: Duration) -> Duration {
    lifetime.saturating_sub(LEFT).max(lifetime / 2)
}

impl KnownPrograms {
    /// Forgets the supplier that no configuration has asked for the longest.
    fn make_room(&mut self) {
        if self.known.len() < MOST {
            return;
        }
        let oldest = self.known.iter().min_by_key(|(_, printed)| printed.asked);
        if let Some(oldest) = oldest.map(|(supplier, _)| supplier.clone()) {
            self.known.remove(&oldest);
        }
    }
}

impl PrintedSecret {
    /// A supplier that was not asked.
    fn new(asked: Instant) -> Self {
        Self {
            value: Err("it has not run yet".to_owned()),
            next: asked,
            failures: 0,
            has_ended: false,
            is_running: false,
            is_new: true,
            asked,
        }
    }

    fn current(
        &self,
        supplier: &SecretSupplier,
        now: Instant,
    ) -> Result<(SecretString, SecretLifetime), ProgramFault> {
        let fault = |message, help: String| Err(ProgramFault { message, help });
        let expired = || format!("secret-expired: the lifetime of what {supplier} gave is over");
        match &self.value {
            Ok((_, lifetime)) if lifetime.is_over_at(now) => fault(expired(), LOOK_INTO_LOG.to_owned()),
            Ok((value, lifetime)) => Ok((value.clone(), lifetime.clone())),
            Err(message) if self.has_ended => fault(format!("{}; {message}", expired()), supplier.advice()),
            Err(message) => fault(supplier.failure(message), supplier.advice()),
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next <= now && !self.is_running
    }

    /// Ends a value whose lifetime is over. True: it has just ended.
    fn end(&mut self, supplier: &SecretSupplier, now: Instant) -> bool {
        let is_over = matches!(&self.value, Ok((_, lifetime)) if lifetime.is_over_at(now));
        if is_over {
            tracing::error!(
                source = %supplier,
                "secret-expired: the lifetime of what it gave is over, and no attempt has succeeded since"
            );
            self.value = Err("no run has succeeded since".to_owned());
            self.has_ended = true;
        }
        is_over
    }

    /// Takes the result of a run. True: the value is another one, or its lifetime has just ended.
    fn take(&mut self, supplier: &SecretSupplier, run: Result<SecretString, String>, now: Instant) -> bool {
        (self.is_running, self.is_new) = (false, false);
        match run {
            Ok(value) => {
                self.failures = 0;
                self.next = now + renewal(supplier.ttl());
                self.renew(value, now + supplier.ttl(), now)
            }
            Err(message) => {
                self.failures = self.failures.saturating_add(1);
                let pause = SHORTEST_PAUSE.saturating_mul(1 << (self.failures - 1).min(6));
                self.next = now + pause.min(LONGEST_PAUSE);
                self.fail(supplier, message, now)
            }
        }
    }

    fn renew(&mut self, value: SecretString, end: Instant, now: Instant) -> bool {
        if let Ok((before, lifetime)) = &self.value
            && before.expose_secret() == value.expose_secret()
            && !lifetime.is_over_at(now)
        {
            *lifetime.end.lock() = end;
            return false;
        }
        self.has_ended = false;
        self.value = Ok((value, SecretLifetime::until(end)));
        true
    }

    /// A failure keeps the value until its lifetime is over. True: that has just ended.
    fn fail(&mut self, supplier: &SecretSupplier, message: String, now: Instant) -> bool {
        let has_just_ended = self.end(supplier, now);
        if self.value.is_ok() {
            tracing::warn!(
                source = %supplier,
                "a secret is not renewed, and stays until its lifetime is over: {message}"
            );
        } else {
            self.value = Err(message);
        }
        has_just_ended
    }
}

#[cfg(test)]
mod tests;
