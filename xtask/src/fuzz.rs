//! The fuzz targets: their build, and a run of each from its seeds.

use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::tools::need;
use witgate_build::cargo::cargo;
use witgate_build::process::{attempt, run};

/// The default running time of each target, in seconds.
const USUAL: u64 = 10;

/// The running time of each target as a part of the tests, in seconds. It is short, because a fuzzer finds most new
/// faults soon.
const SMOKE: u64 = 5;

/// The time limit of the build, which may include all dependencies.
const BUILD: Duration = Duration::from_secs(60 * 60);

/// The time that a fuzzer may take to end after its last input.
const LINGER: Duration = Duration::from_secs(60);

/// Runs each target for `seconds`, as many at once as there are processors. Inputs that fail stay in `fuzz/artifacts`,
/// and inputs that reach new code in `fuzz/corpus`.
pub(crate) fn all(root: &Path, seconds: Option<&str>) -> Result<()> {
    let seconds = match seconds {
        None => USUAL,
        Some(text) => text.parse().with_context(|| format!("`{text}` is no number of seconds"))?,
    };
    let clock = Instant::now();
    let targets = targets(root)?;
    build(root, &targets)?;
    println!("fuzz: built in {} s", clock.elapsed().as_secs());
    run_each(root, &targets, seconds, |line| println!("fuzz: {line}"))
}

/// Runs each target briefly, after everything else has been built.
pub(crate) fn smoke(root: &Path) -> Result<()> {
    let targets = targets(root)?;
    build(root, &targets)?;
    run_each(root, &targets, SMOKE, |_| ())
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

/// Builds the targets. Only the crates of the workspace are compiled again: their dependencies are shared with the
/// tests, without the fuzzer's instrumentation. Safe Rust needs no sanitizer, and without one the stable compiler is
/// enough.
fn build(root: &Path, targets: &[String]) -> Result<()> {
    need("c++", &["g++"], &["--version"]).context("libFuzzer is C++")?;
    let mut build = cargo();
    // The whole workspace, because the features of its dependencies depend on what is built together.
    build.args(["build", "--locked", "--workspace", "--features", "witgate-fuzz/fuzzer"]);
    build.args(targets.iter().flat_map(|target| ["--bin", target]));
    build.env("RUSTC_WORKSPACE_WRAPPER", root.join("fuzz/watched"));
    run(build.current_dir(root), BUILD).map(drop)
}

fn run_each(root: &Path, targets: &[String], seconds: u64, mut tell: impl FnMut(&str)) -> Result<()> {
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    let mut broken = Vec::new();
    for batch in targets.chunks(at_once) {
        let outcomes: Vec<_> = thread::scope(|scope| {
            let runs: Vec<_> =
                batch.iter().map(|target| scope.spawn(move || run_one(root, target, seconds))).collect();
            runs.into_iter().map(|run| run.join().unwrap_or_else(|_| bail!("a run panicked"))).collect()
        });
        for (target, outcome) in batch.iter().zip(outcomes) {
            match outcome {
                Ok(figures) => tell(&format!("{target}: {figures}")),
                Err(error) => broken.push(format!("{error:#}")),
            }
        }
    }
    match broken.as_slice() {
        [] => Ok(()),
        broken => bail!("{}", broken.join("\n\n")),
    }
}

/// Runs one target, and returns its figures.
fn run_one(root: &Path, target: &str, seconds: u64) -> Result<String> {
    let (corpus, artifacts) =
        (root.join("fuzz/corpus").join(target), root.join("fuzz/artifacts").join(target));
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    let mut fuzz = Command::new(root.join("target/debug").join(target));
    // The fuzzer writes new inputs to the first directory. The seeds stay unchanged.
    fuzz.arg(&corpus).arg(root.join("fuzz/seeds").join(target));
    fuzz.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzz.args(["-timeout=10", "-rss_limit_mb=2048", "-max_len=16384", "-print_final_stats=1"]);
    let ended = attempt(fuzz.current_dir(root), Duration::from_secs(seconds) + LINGER)?;
    if !ended.succeeded() {
        bail!(
            "{target} found something ({}); mend the code, then copy the file that is named below to fuzz/seeds/{target}\n{}",
            ended.reason(),
            ended.output.trim_end()
        );
    }
    figures(&ended.output)
        .with_context(|| format!("{target} saw nothing of the code:\n{}", ended.output.trim_end()))
}

/// The number of inputs, and of the code edges that they reached. None: the fuzzer saw no edges.
fn figures(output: &str) -> Option<String> {
    let inputs = output.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))?;
    let reached = output.lines().rfind(|line| line.contains(" cov: "))?;
    let reached = reached.split(" cov: ").nth(1)?.split(' ').next()?;
    Some(format!("{} inputs, {reached} edges", inputs.trim()))
}
