//! The fuzz targets: built for the fuzzer, then each run for a while from its seeds.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use witgate_build::cargo::cargo;
use witgate_build::process::{attempt, run, works};

/// How long each target runs unless somebody says otherwise, in seconds.
const USUAL: u64 = 10;

/// Everything that Witgate stands on, compiled once more and watched by the fuzzer.
const BUILD: Duration = Duration::from_secs(60 * 60);

/// Safe Rust needs no sanitizer, and without one the stable compiler will do. What no target calls,
/// Wasmtime above all, is not linked.
const BUILT: [&str; 3] = ["--sanitizer", "none", "--strip-dead-code=true"];

/// Runs each target for that many seconds. What it finds stays in `fuzz/artifacts`, what is new to
/// it in `fuzz/corpus`.
pub(crate) fn all(root: &Path, seconds: Option<&str>) -> Result<()> {
    let seconds = match seconds {
        None => USUAL,
        Some(text) => text.parse().with_context(|| format!("`{text}` is no number of seconds"))?,
    };
    need_cargo_fuzz()?;
    let targets = targets(root)?;
    let clock = Instant::now();
    println!("fuzz: cargo fuzz build {} (minutes, the first time)", BUILT.join(" "));
    run(cargo().args(["fuzz", "build"]).args(BUILT).current_dir(root), BUILD)?;
    println!("fuzz: built in {} s", clock.elapsed().as_secs());

    let mut broken = Vec::new();
    for target in &targets {
        if let Err(error) = one(root, target, seconds) {
            println!("{error:#}");
            broken.push(target.as_str());
        }
    }
    match broken.as_slice() {
        [] => Ok(()),
        _ => bail!("found something: {}", broken.join(", ")),
    }
}

fn need_cargo_fuzz() -> Result<()> {
    let there = || works(cargo().args(["fuzz", "--version"]));
    if there() {
        return Ok(());
    }
    println!("set-up: cargo install cargo-fuzz (once, takes minutes)");
    let mut install = cargo();
    run(install.args(["install", "--locked", "cargo-fuzz"]), Duration::from_secs(20 * 60))
        .context("there is no cargo-fuzz, and it cannot be installed")?;
    match there() {
        true => Ok(()),
        false => bail!("cargo-fuzz was installed, and `cargo fuzz` does not run"),
    }
}

/// The names of all targets, in order.
fn targets(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        let name = path.file_stem().context("a target has a name")?;
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn one(root: &Path, target: &str, seconds: u64) -> Result<()> {
    let corpus = root.join("fuzz/corpus").join(target);
    fs::create_dir_all(&corpus)?;
    let mut fuzz: Command = cargo();
    fuzz.args(["fuzz", "run"]).args(BUILT).arg(target);
    // What is found goes into the first directory; the seeds stay as they are.
    fuzz.arg(&corpus).arg(root.join("fuzz/seeds").join(target));
    fuzz.arg("--").args([format!("-max_total_time={seconds}"), "-timeout=10".to_owned()]);
    fuzz.args(["-rss_limit_mb=2048", "-max_len=16384", "-print_final_stats=1"]);
    let ended = attempt(fuzz.current_dir(root), Duration::from_secs(seconds) + BUILD)?;
    if !ended.succeeded() {
        bail!("fuzz: {target} FAILED ({})\n{}", ended.reason(), ended.output.trim_end());
    }
    println!("fuzz: {target}: {}", figures(&ended.output));
    Ok(())
}

/// How much was tried, and how much of the code that reached.
fn figures(output: &str) -> String {
    let stat = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let reached = output.lines().rfind(|line| line.contains(" cov: "));
    let reached = reached.and_then(|line| line.split(" cov: ").nth(1)?.split(' ').next());
    let inputs = stat("stat::number_of_executed_units:").unwrap_or("?");
    format!("{inputs} inputs, {} edges", reached.unwrap_or("?"))
}
