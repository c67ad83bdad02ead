//! The price of settings: gateways of one build beside each other, each with another setting, called in turns. Then wrong
//! keys and passwords beside a good caller.

use std::fmt::{self, Display};
use std::path::Path;

use anyhow::{Context, Result};

use super::build::Programs;
use super::cores::Cores;
use super::guesses::Guess;
use super::measure::{Figures, measure};
use super::median::{interval, median};
use super::places::{Place, through};
use super::scene::{Installation, Upstreams, users};
use super::start;
use super::wrong_keys::WrongKeys;
use crate::servers::Server;

/// Seconds of calls to each gateway in a round.
const SECONDS: u32 = 2;

/// Connections at once.
const CONNECTIONS: u32 = 32;

/// The settings, each with the tables of its configuration. The first is without any. `COLLECTOR` stands for a server
/// that takes traces.
const SETTINGS: [(&str, &str); 8] = [
    ("none", ""),
    (
        "`[limits]` and `[lockout]`",
        "[limits.calls]\nrate = '1000000/s'\nper = ['principal']\n[limits.at-once]\nconcurrent = 1000\n\
         per = ['principal', 'target']\n[lockout]\n",
    ),
    ("`[audit]`, batched", "[audit]\ndirectory = 'log/audit'\nsync = 'batched'\n"),
    (
        "`[audit]`, batched, in place of lines",
        "[audit]\ndirectory = 'log/audit'\nsync = 'batched'\nlines = 'none'\n",
    ),
    ("`[audit]`, before answer", "[audit]\ndirectory = 'log/audit'\nsync = 'before-answer'\n"),
    ("`[telemetry]`, no sample", "[telemetry]\notlp_endpoint = 'http://COLLECTOR'\nsample = 0.0\n"),
    ("`[telemetry]`, 1 %", "[telemetry]\notlp_endpoint = 'http://COLLECTOR'\nsample = 0.01\n"),
    ("`[telemetry]`, all", "[telemetry]\notlp_endpoint = 'http://COLLECTOR'\nsample = 1.0\n"),
];

/// The places in [`SETTINGS`] whose gateways get wrong keys or passwords.
const GUESSED: [(&str, usize, Guess); 4] = [
    ("keys, without a lockout", 0, Guess::Key),
    ("keys, with a lockout", 1, Guess::Key),
    ("passwords, without a lockout", 0, Guess::Password),
    ("passwords, with a lockout", 1, Guess::Password),
];

/// A gateway with one of the settings, and its figures.
struct SettingPlace {
    installation: Installation,
    place: Place,
    figures: Vec<Figures>,
    _gateway: Server,
}

/// Builds, measures, and prints the tables.
pub(super) fn run(root: &Path, gateway: Option<&Path>, rounds: usize) -> Result<()> {
    let programs = Programs::build(root, gateway)?;
    let (directory, cores) = (tempfile::tempdir()?, Cores::Shared);
    let upstreams = Upstreams::start(&programs.others, cores)?;
    let collector = Server::announced(&mut cores.rest(programs.others.join("plain-upstream")))?;
    let open = |(number, (_, tables)): (usize, &(&str, &str))| {
        let directory = directory.path().join(number.to_string());
        let installation = Installation::make(root, directory, programs.gateway.clone(), &upstreams, cores)?;
        installation.extend(&tables.replace("COLLECTOR", &collector.address))?;
        installation.extend(&users(root, &upstreams.plain.address))?;
        SettingPlace::open(installation)
    };
    let mut places = SETTINGS.iter().enumerate().map(open).collect::<Result<Vec<_>>>()?;
    for round in 1..=rounds {
        eprintln!("load: settings: round {round} of {rounds}");
        // The order changes, because each place has the warm caches of the one before it.
        for turn in 0..places.len() {
            let number = (turn + round) % SETTINGS.len();
            places.get_mut(number).context("each setting has a place")?.measure(cores)?;
        }
    }
    println!("\n{}", SettingTable(&places));
    println!("{}", guessed(&mut places, rounds, cores)?);
    Ok(())
}

/// Measures wrong keys and passwords.
fn guessed(places: &mut [SettingPlace], rounds: usize, cores: Cores) -> Result<String> {
    let mut table =
        "| guesses | answered/s | requests/s alone | beside them | ratio | 95 % interval | target |\n\
                     |---|---|---|---|---|---|---|\n"
            .to_owned();
    for (name, number, guess) in GUESSED {
        let place = places.get_mut(number).context("each setting has a place")?;
        let mut guesses = WrongKeys::open(name, guess, &place.place)?;
        for round in 1..=rounds {
            eprintln!("load: wrong {name}: round {round} of {rounds}");
            guesses.round(&place.place, SECONDS, cores)?;
            place.installation.forget_log()?;
        }
        table += &guesses.to_string();
    }
    Ok(table)
}

impl SettingPlace {
    fn open(installation: Installation) -> Result<Self> {
        let gateway = start::answering(&installation)?;
        let [place, ..] = through(&installation, &gateway, ["Witgate, API key", "", "", ""]);
        place.check()?;
        Ok(Self { installation, place, figures: Vec::new(), _gateway: gateway })
    }

    fn measure(&mut self, cores: Cores) -> Result<()> {
        self.figures.push(measure(&self.place, CONNECTIONS, SECONDS, cores)?);
        self.installation.forget_log()
    }
}

/// The figures of each setting in comparison with the first.
struct SettingTable<'a>(&'a [SettingPlace]);

impl SettingTable<'_> {
    /// The comparisons of a figure of one setting with that of none, round by round.
    fn compared(&self, place: &SettingPlace, compare: fn(&Figures, &Figures) -> f64) -> Vec<f64> {
        let none = self.0.iter().take(1).flat_map(|place| &place.figures);
        place.figures.iter().zip(none).map(|(with, without)| compare(with, without)).collect()
    }
}

impl Display for SettingTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| setting | requests/s | / none | 95 % interval | µs of processor a request more | 95 % interval |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for ((name, _), place) in SETTINGS.iter().zip(self.0) {
            let rate = median(place.figures.iter().map(|figures| figures.per_second));
            let rates = self.compared(place, |with, without| with.per_second / without.per_second);
            let times = self.compared(place, |with, without| with.cpu - without.cpu);
            let ((low, high), (least, most)) = (interval(&rates), interval(&times));
            let (ratio, more) = (median(rates.into_iter()), median(times.into_iter()));
            writeln!(
                f,
                "| {name} | {rate:.0} | {ratio:.3} | {low:.3} to {high:.3} | {more:.2} | {least:.2} to {most:.2} |"
            )?;
        }
        Ok(())
    }
}
