//! Replaces policies again and again under load, and measures the effect on callers: there should be none.

mod report;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::stress::Profile;
use crate::stress::caller::{Caller, Door};
use crate::stress::figures::Times;
use crate::stress::gateway::{Driver, Gateway, PATIENCE, Place, Way, upstream};
use crate::stress::load::{Load, Phase};
use crate::stress::state::{State, Verdict};
use report::Report;
use witgate_build::process::run as run_program;

const SWAPS: usize = 10_000;

/// Connections under load.
const CONNECTIONS: usize = 4;

/// Swaps before the measurement: they compile each version, and the allocator finds its size.
const WARM_UP: usize = 5000;

/// The fewest swaps that show anything.
const FEWEST: usize = 40;

/// Shortest interval between swaps: two hundred a second. Without it, the measurement would show the wait of calls for
/// one of two processors.
const PACE: Duration = Duration::from_millis(5);

/// Changes elsewhere, under which the load is measured before and after the swaps: ten seconds each.
const ELSEWHERE: usize = 2000;

/// Number of samples of the memory.
const SAMPLES: usize = 500;

/// Swaps of each kind whose time is measured while nothing else is replaced.
const TIMED: usize = 15;

/// Time limit for a command that writes a file.
const QUICK: Duration = Duration::from_secs(30);

/// A tool that every version allows to every role.
const HARMLESS: &str = "get-brief";

/// Builds, swaps, and prints the table. All data stays on this machine.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    let (swaps, profile) = parse(arguments)?;
    let programs = profile.build(root)?;
    let directory = tempfile::tempdir()?;
    let upstream = upstream(&programs)?;
    let place = Place::set(root, directory.path(), &programs, &upstream.address, "")?;
    let unseen = tempfile::tempdir()?;
    let elsewhere = Place::set(root, unseen.path(), &programs, &upstream.address, "")?;
    let gateway = place.start()?;
    let report = measure(&place, &elsewhere, &gateway, swaps);
    let report = report.with_context(|| format!("witgate's log:\n{}", gateway.audit.tail()))?;
    println!("{report}");
    report.conclude()
}

fn parse(arguments: &[&str]) -> Result<(usize, Profile)> {
    let (mut swaps, mut profile) = (SWAPS, Profile::Release);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            "--profile" => profile = Profile::named(rest.next().context("`--profile` of what?")?)?,
            number => swaps = number.parse().with_context(|| format!("N is a number, and not `{number}`"))?,
        }
    }
    ensure!(swaps >= FEWEST, "N is at least {FEWEST}, for each kind of swap to be seen");
    Ok((swaps, profile))
}

fn measure(place: &Place, elsewhere: &Place, gateway: &Gateway, swaps: usize) -> Result<Report> {
    let mut driver = Driver::new(place, gateway, State::FIRST)?;
    let mut load = Load::start(&place.door, CONNECTIONS, driver.timeline());
    let mut report = Report::new(swaps);
    for way in Way::ALL.into_iter().cycle().take(WARM_UP.min(swaps)) {
        driver.swap(way)?;
    }
    quiet(&mut driver, elsewhere, &load)?;
    report.begin(gateway.vitals()?, place.instances()?);
    under_load(&mut driver, &load, gateway, swaps, &mut report)?;
    quiet(&mut driver, elsewhere, &load)?;
    report.end(gateway.vitals()?, place.instances()?);
    eprintln!("swaps: how long single ones take");
    report.time("cached component, ms", 20.0, cached(&mut driver)?);
    report.time("uncached component of 200 KB, ms", 200.0, uncached(&mut driver, place)?);
    report.time("edited rule, ms", 50.0, edited(&mut driver)?);
    report.time("revoked key, ms", 50.0, revoked(&mut driver, place)?);
    load.stop();
    report.judge(&load.seen(), gateway, driver.calls)?;
    Ok(report)
}

/// Measures the same calls and the same writes to files as during swaps, so that the difference comes from the swaps.
fn quiet(driver: &mut Driver<'_>, elsewhere: &Place, load: &Load) -> Result<()> {
    load.phase(Phase::Quiet);
    let mut state = State::FIRST;
    for way in Way::ALL.into_iter().cycle().take(ELSEWHERE) {
        let start = Instant::now();
        state = way.next(state);
        driver.change_elsewhere(elsewhere, way, state)?;
        thread::sleep(PACE.saturating_sub(start.elapsed()));
    }
    load.phase(Phase::Between);
    Ok(())
}

fn under_load(
    driver: &mut Driver<'_>,
    load: &Load,
    gateway: &Gateway,
    swaps: usize,
    report: &mut Report,
) -> Result<()> {
    load.phase(Phase::Changing);
    let (start, between) = (Instant::now(), (swaps / SAMPLES).max(1));
    for (number, way) in (1..=swaps).zip(Way::ALL.into_iter().cycle()) {
        let at = Instant::now();
        report.swapped(way, driver.swap(way)?);
        if number % between == 0 {
            report.sample(number, gateway.vitals()?);
        }
        if number % 1000 == 0 {
            eprintln!("swaps: {number} of {swaps}, {:.0} s", start.elapsed().as_secs_f64());
        }
        thread::sleep(PACE.saturating_sub(at.elapsed()));
    }
    load.phase(Phase::Between);
    report.took(start.elapsed());
    Ok(())
}

fn cached(driver: &mut Driver<'_>) -> Result<Times> {
    repeat(|_| driver.swap(Way::Rename))
}

/// Measures swaps with compilation. `read-only` has 200 KB; the unchanged `rbac` comes in between.
fn uncached(driver: &mut Driver<'_>, place: &Place) -> Result<Times> {
    if driver.state.version % 2 == 1 {
        driver.swap(Way::Rename)?;
    }
    repeat(|number| {
        let to = driver.state.next_version();
        let content = place.unseen(to, number)?;
        let took = driver.bring_about(to, |place| place.rename("current/rules.wasm", &content))?;
        driver.swap(Way::Rename)?;
        Ok(took)
    })
}

fn edited(driver: &mut Driver<'_>) -> Result<Times> {
    repeat(|_| driver.swap(Way::Config))
}

/// Measures the time until a key is refused that was just valid, on the connection that used it.
fn revoked(driver: &mut Driver<'_>, place: &Place) -> Result<Times> {
    let state = driver.state;
    let store = format!("keys-{}.toml", state.config);
    repeat(|number| {
        let name = format!("brief-{number}");
        let mut key = String::new();
        driver.bring_about(state, |place| {
            key = place.make_key(&name, &store, &crate::stress::state::role(state.config))?;
            Ok(Instant::now())
        })?;
        let credential = ("X-API-Key".to_owned(), key);
        let mut caller = Caller::connect(&Door { credential, ..place.door.clone() })?;
        ensure!(caller.call(HARMLESS)?.verdict()? == Verdict::Allowed, "the new key is not good");
        std::fs::copy(place.path(&store), place.path("revoked.toml"))?;
        run_program(
            &mut place.witgate(&["key", "revoke", &name, "--store", "revoked.toml", "--wait", "0s"]),
            QUICK,
        )?;
        let without = std::fs::read(place.path("revoked.toml"))?;
        let mut took = Duration::ZERO;
        driver.bring_about(state, |place| {
            let start = place.rename(&store, &without)?;
            took = refused(&mut caller, start)?;
            Ok(start)
        })?;
        Ok(took)
    })
}

fn refused(caller: &mut Caller, start: Instant) -> Result<Duration> {
    while start.elapsed() < PATIENCE {
        match caller.call(HARMLESS)?.verdict()? {
            Verdict::Allowed => thread::sleep(Duration::from_micros(500)),
            Verdict::Refused(_) => return Ok(start.elapsed()),
        }
    }
    bail!("a revoked key is good after {} s", PATIENCE.as_secs())
}

/// Repeats a measurement, without the first one of each kind, which warms up.
fn repeat(mut once: impl FnMut(usize) -> Result<Duration>) -> Result<Times> {
    let mut times = Times::default();
    for number in 0..=TIMED {
        let took = once(number)?;
        if number > 0 {
            times.add(took);
        }
    }
    Ok(times)
}
