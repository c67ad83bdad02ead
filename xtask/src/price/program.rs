//! The program that handles the requests: built with the development profile, run directly and under callgrind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::measurement::{INSTRUCTIONS, Measurement};
use crate::tools::need;
use witgate_build::cargo::cargo;
use witgate_build::process::run;

/// Time limit for the build, also if all dependencies have to be compiled.
const BUILD: Duration = Duration::from_secs(45 * 60);

/// Time limit for a run of a few thousand requests, also when each instruction takes a hundred times as long and two
/// components are compiled.
const RUN: Duration = Duration::from_secs(10 * 60);

/// Time limit for asking the compiler for its version.
const PROBE: Duration = Duration::from_secs(60);

/// The function whose instructions are counted.
const COUNTED: &str = "price::counted";

/// Builds the program and measures all figures.
pub(super) fn measure(root: &Path) -> Result<Measurement> {
    let program = build(root)?;
    let mut run_alone = Command::new(&program);
    run_alone.env("WITGATE_CACHE", cache(root, "native"));
    let mut figures: BTreeMap<_, _> = lines(&run(&mut run_alone, RUN)?)?.into_iter().collect();
    let mut uncounted = None;
    match need("valgrind", &["valgrind"], &["--version"]) {
        Ok(()) => figures.extend(instructions(root, &program)?),
        Err(error) => uncounted = Some(format!("instructions are not counted, only allocations: {error:#}")),
    }
    Ok(Measurement { figures, compiler: compiler(root)?, uncounted })
}

/// Builds the program from the same artifacts as the tests.
fn build(root: &Path) -> Result<PathBuf> {
    let mut build = cargo();
    // Builds the whole workspace, because the features of its dependencies depend on the packages of a build.
    build.args(["build", "--locked", "--workspace", "--bench", "price", "--message-format", "json"]);
    let output = run(build.current_dir(root), BUILD)?;
    let built = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = built.filter(|artifact| artifact.pointer("/target/name") == Some(&"price".into()));
    let program = programs.find_map(|artifact| Some(PathBuf::from(artifact.get("executable")?.as_str()?)));
    program.context("cargo does not say where the program `price` is")
}

/// Counts the instructions of each scene, for one request.
fn instructions(root: &Path, program: &Path) -> Result<BTreeMap<String, u64>> {
    // Without callgrind first: components are compiled in a tenth of the time.
    run(valgrind(root, "none").arg(program).arg("instructions"), RUN)?;
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("counted");
    let mut callgrind = valgrind(root, "callgrind");
    // Callgrind writes one dump for each call of that function: its instructions, and those of all functions that it
    // calls on its thread.
    callgrind.args(["--collect-atstart=no".to_owned(), format!("--toggle-collect={COUNTED}")]);
    callgrind.arg(format!("--dump-after={COUNTED}")).arg(format!("--callgrind-out-file={}", out.display()));
    let scenes = lines(&run(callgrind.arg(program).arg("instructions"), RUN)?)?;
    let mut figures = BTreeMap::new();
    for (place, (name, requests)) in scenes.into_iter().enumerate() {
        let dump = fs::read_to_string(format!("{}.{}", out.display(), place + 1))?;
        let total = total(&dump).with_context(|| format!("callgrind counted nothing of `{name}`"))?;
        figures.insert(format!("{name}{INSTRUCTIONS}"), total / requests.max(1));
    }
    Ok(figures)
}

fn valgrind(root: &Path, tool: &str) -> Command {
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--quiet").arg(format!("--tool={tool}")).env("WITGATE_CACHE", cache(root, "valgrind"));
    valgrind
}

/// The instructions in a dump of callgrind. None: the dump has no total.
fn total(dump: &str) -> Option<u64> {
    let total = dump.lines().find_map(|line| line.strip_prefix("totals: "))?;
    total.trim().parse().ok().filter(|&total| total > 0)
}

/// Parses the output of the program: each line has a name, a tab and a number.
fn lines(output: &str) -> Result<Vec<(String, u64)>> {
    let line = |line: &str| {
        let (name, value) = line.split_once('\t').with_context(|| format!("`price` said: {line}"))?;
        Ok((name.to_owned(), value.parse()?))
    };
    output.lines().map(line).collect()
}

/// The compiler and the platform that it compiles for.
fn compiler(root: &Path) -> Result<String> {
    let output = run(Command::new("rustc").arg("-vV").current_dir(root), PROBE)?;
    let version = output.lines().next().context("rustc names no version")?;
    let host = output.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(format!("{version} for {host}"))
}

/// The directory of compiled components. The processor has other features under valgrind.
fn cache(root: &Path, processor: &str) -> PathBuf {
    root.join("target/price").join(processor)
}
