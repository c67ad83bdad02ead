//! A good caller beside callers with wrong keys or passwords, from many addresses.

use std::fmt::{self, Display};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::cores::Cores;
use super::guesses::{Guess, Guesses};
use super::measure::measure;
use super::median::{interval, median};
use super::places::Place;
use super::scene::USERS_PATH;

/// Connections of the good caller.
const CONNECTIONS: u32 = 4;

/// The time by which the guesses begin before the good caller's calls are measured, and end after them.
const MARGIN: Duration = Duration::from_secs(1);

/// The least share of the good caller's requests a second that has to remain.
const TARGET: f64 = 0.9;

/// The figures of all rounds, for one gateway.
pub(super) struct WrongKeys {
    name: &'static str,
    guesses: Guesses,
    /// Requests a second alone and beside the guesses, and guesses answered in a second.
    rounds: Vec<[f64; 3]>,
}

impl WrongKeys {
    /// Opens the connections of the guesses to the place of the good caller.
    pub(super) fn open(name: &'static str, guess: Guess, good: &Place) -> Result<Self> {
        let path = match guess {
            Guess::Key => &good.path,
            Guess::Password => USERS_PATH,
        };
        let guesses = Guesses::open(guess, &good.address, path)?;
        Ok(Self { name, guesses, rounds: Vec::new() })
    }

    /// Measures a round.
    pub(super) fn round(&mut self, good: &Place, seconds: u32, cores: Cores) -> Result<()> {
        let alone = measure(good, CONNECTIONS, seconds, cores)?.per_second;
        let time = Duration::from_secs(seconds.into()) + 2 * MARGIN;
        let (beside, guessed) = thread::scope(|scope| {
            let guesses = scope.spawn(|| self.guesses.send_for(time));
            thread::sleep(MARGIN);
            let beside = measure(good, CONNECTIONS, seconds, cores);
            let guessed = guesses.join().map_err(|_| anyhow!("the sender of wrong keys panicked"))??;
            Ok::<_, anyhow::Error>((beside?.per_second, guessed))
        })?;
        self.rounds.push([alone, beside, guessed]);
        Ok(())
    }
}

impl Display for WrongKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let middle =
            |figure: usize| median(self.rounds.iter().filter_map(|round| round.get(figure).copied()));
        let ratios: Vec<f64> = self.rounds.iter().map(|[alone, beside, _]| beside / alone).collect();
        let (low, high) = interval(&ratios);
        let ratio = median(ratios.into_iter());
        let verdict = if ratio >= TARGET { "" } else { "missed" };
        writeln!(
            f,
            "| {} | {:.0} | {:.0} | {:.0} | {ratio:.3} | {low:.3} to {high:.3} | ≥ {TARGET} {verdict} |",
            self.name,
            middle(2),
            middle(0),
            middle(1)
        )
    }
}
