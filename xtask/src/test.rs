//! The whole check: set-up, format, lints, tests, documentation.

mod count;

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::tools::{self, Tools};
use crate::{fuzz, guests, price, wit};
use count::{Count, slowest, trouble};
use witgate_build::cargo::cargo;
use witgate_build::process::{ProgramEnd, attempt, run, works};
use witgate_build::toolchain::Toolchain;

/// Nothing is compiled for it.
const QUICK: Duration = Duration::from_secs(60);

/// Nothing is compiled either, but the crates of other platforms are loaded.
const LOOK_UP: Duration = Duration::from_secs(5 * 60);

/// Everything that Witgate stands on, compiled on two slow cores, takes a quarter of an hour.
const COMPILE: Duration = Duration::from_secs(45 * 60);

/// As [`COMPILE`], and then the tests.
const TESTS: Duration = Duration::from_secs(75 * 60);

/// The number of slow tests that are named at the end.
const SLOWEST: usize = 20;

/// An optimised build of cargo-deny takes three times as long, and nobody would notice the difference.
const DENY_OPTIONS: &[&str] = &["--debug"];

/// Runs everything. What fails is shown at once and counts as a failure, and the rest goes on.
pub(crate) fn all(root: &Path) -> Result<()> {
    let started = Instant::now();
    let mut suite =
        Suite { root, count: Count::default(), broken: Vec::new(), trouble: Vec::new(), slowest: Vec::new() };
    // What is quick comes first, what only looks at the code before what runs it.
    suite.need("format and lints", &["fmt", "clippy"])?;
    suite.step("fmt", QUICK, cargo().args(["fmt", "--all", "--check"]));
    suite.check("wit: are the embedded world types current", || wit::check(root));

    // Before anything compiles the host, which embeds components.
    let toolchain = guests::toolchain(root)?;
    let tools = thread::scope(|scope| {
        let set_up = scope.spawn(|| set_up(root, &toolchain));
        // Clippy and `cargo doc` share the metadata of all dependencies, which neither shares with the build.
        suite.step(
            "clippy",
            COMPILE,
            cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        );
        // The integration tests run the programs, which a test build does not make. With the tests in the same call no
        // processor waits until the last program is linked.
        suite.step(
            "build",
            COMPILE,
            cargo().args(["build", "--locked", "--workspace", "--bins", "--tests", "--bench", "price"]),
        );
        set_up.join().unwrap_or_else(|_| bail!("the set-up panicked"))
    })?;

    if has("deny", DENY_OPTIONS) {
        suite.step("dependencies", LOOK_UP, &mut deny());
    } else {
        println!("dependencies: not checked, for cargo-deny cannot be installed here");
    }
    suite.check("price: instructions and allocations of a request", || price::check(root));
    suite.step("tests", TESTS, tests(&tools, root).args(["--no-fail-fast"]));
    suite.check("fuzz: a few seconds for each target", || fuzz::smoke(root));
    suite.step(
        "doc tests",
        TESTS,
        with_tools(cargo(), &tools, root).args([
            "test",
            "--locked",
            "--workspace",
            "--doc",
            "--no-fail-fast",
        ]),
    );
    suite.step(
        "doc",
        COMPILE,
        cargo().args(["doc", "--locked", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"),
    );
    println!("all: {}", seconds(started));
    suite.conclude()
}

/// Builds the guests, and downloads the tools of the tests and of cargo meanwhile.
fn set_up(root: &Path, toolchain: &Toolchain) -> Result<Tools> {
    let clock = Instant::now();
    let tools = thread::scope(|scope| {
        let tools = scope.spawn(|| {
            let tools = tools::install(root);
            has("deny", DENY_OPTIONS);
            has("nextest", &[]);
            tools
        });
        guests::build_all_with(root, toolchain)?;
        tools.join().unwrap_or_else(|_| bail!("the set-up of the tools panicked"))
    });
    println!("set-up: {}", seconds(clock));
    tools
}

struct Suite<'a> {
    root: &'a Path,
    count: Count,
    /// The names of the checks that failed.
    broken: Vec<String>,
    /// Tests that failed, or passed at a later try only, as the runner names them.
    trouble: Vec<String>,
    /// The slowest tests.
    slowest: Vec<String>,
}

impl Suite<'_> {
    /// Runs a cargo command: a line before it, one with its time after it, and all of its output if it fails.
    fn step(&mut self, name: &str, limit: Duration, command: &mut Command) {
        let line = command.get_args().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join(" ");
        command.current_dir(self.root);
        let (mut named, mut slow) = (Vec::new(), Vec::new());
        self.check(&format!("{name}: cargo {line}"), || {
            let ended = attempt(command, limit)?;
            named = trouble(&ended.output).into_iter().map(str::to_owned).collect();
            slow = slowest(&ended.output, SLOWEST);
            Ok((Count::read(&ended.output), ended))
        });
        self.trouble.append(&mut named);
        self.slowest.append(&mut slow);
    }

    /// Runs one check, which may have counted tests.
    fn check<T: Outcome>(&mut self, what: &str, check: impl FnOnce() -> Result<T>) {
        println!("{what}");
        let name = what.split(':').next().unwrap_or(what);
        let clock = Instant::now();
        let outcome = check();
        let (count, complaint) = match outcome {
            Ok(outcome) => outcome.judge(),
            Err(error) => (Count::default(), Some(format!("{error:#}"))),
        };
        self.count.passed += count.passed;
        self.count.failed += count.failed;
        let Some(complaint) = complaint else {
            println!("{name}: {}", seconds(clock));
            return;
        };
        println!("{name}: FAILED after {}\n{}\n", seconds(clock), complaint.trim_end());
        self.broken.push(name.to_owned());
        if count.failed == 0 {
            self.count.failed += 1;
        }
    }

    /// Makes sure that cargo has these commands, which a minimal rustup leaves out.
    fn need(&self, purpose: &str, components: &[&str]) -> Result<()> {
        let missing = |component: &&&str| !works(cargo().args([component, "--version"]));
        let missing: Vec<&str> = components.iter().filter(missing).copied().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names = missing.iter().map(|&name| if name == "fmt" { "rustfmt" } else { name });
        println!("set-up: rustup component add for {purpose}");
        let mut rustup = Command::new("rustup");
        rustup.args(["component", "add"]).args(names).current_dir(self.root);
        run(&mut rustup, Duration::from_secs(300)).context("cargo lacks what checks format and lints")?;
        Ok(())
    }

    fn conclude(self) -> Result<()> {
        if !self.slowest.is_empty() {
            println!("the slowest tests:");
        }
        for line in self.slowest.iter().chain(&self.trouble) {
            println!("{line}");
        }
        if !self.broken.is_empty() {
            println!("failed: {}", self.broken.join(", "));
        }
        println!("{} passed, {} failed", self.count.passed, self.count.failed);
        if self.count.failed > 0 || !self.broken.is_empty() {
            std::process::exit(1);
        }
        if self.count.passed == 0 {
            bail!("no test ran");
        }
        Ok(())
    }
}

/// The result of a check: the tests that it counted, and its complaint if it failed.
trait Outcome {
    fn judge(self) -> (Count, Option<String>);
}

impl Outcome for () {
    fn judge(self) -> (Count, Option<String>) {
        (Count::default(), None)
    }
}

impl Outcome for (Count, ProgramEnd) {
    fn judge(self) -> (Count, Option<String>) {
        let (count, ended) = self;
        let complaint =
            (!ended.succeeded()).then(|| format!("{}\n{}", ended.output.trim_end(), ended.reason()));
        (count, complaint)
    }
}

/// The test runner: nextest, whose tests each have a process and a time limit; else cargo's own.
fn tests(tools: &Tools, root: &Path) -> Command {
    let mut command = with_tools(cargo(), tools, root);
    if has_nextest() {
        // Many tests wait for programs. With half as many threads again as there are processors, none of those is idle.
        let threads = thread::available_parallelism().map_or(2, |processors| processors.get() * 3 / 2);
        command.args(["nextest", "run", "--locked", "--workspace", "--test-threads", &threads.to_string()]);
    } else {
        command.args(["test", "--locked", "--workspace", "--lib", "--bins", "--tests", "--examples"]);
    }
    command
}

fn has_nextest() -> bool {
    let there = has("nextest", &[]);
    if !there {
        println!("set-up: without cargo-nextest; `cargo test` runs the tests instead");
    }
    there
}

/// Checks licenses, sources and versions against `deny.toml`. An exception that is no longer needed is an error.
fn deny() -> Command {
    let mut command = cargo();
    command.args(["deny", "--locked", "check", "licenses", "bans", "sources", "--hide-inclusion-graph"]);
    command.args(["-D", "unnecessary-skip", "-D", "unmatched-skip", "-D", "unmatched-skip-root"]);
    command
}

/// Installs a command of cargo if it is not there. True: it is there now.
fn has(name: &str, options: &[&str]) -> bool {
    let there = || works(cargo().args([name, "--version"]));
    if there() {
        return true;
    }
    println!("set-up: cargo install cargo-{name} (once, takes minutes)");
    let mut install = cargo();
    install.args(["install", "--locked", &format!("cargo-{name}")]).args(options);
    if let Err(error) = run(&mut install, Duration::from_secs(20 * 60)) {
        println!("{error:#}");
    }
    there()
}

/// Sets the variables with which tests find the installed tools.
fn with_tools(mut command: Command, tools: &Tools, root: &Path) -> Command {
    command
        .env("WITGATE_TEST_TOOLS", &tools.dir)
        .env("WITGATE_TEST_PLUGINS", root.join("target/plugins"))
        .env("WITGATE_NODE", &tools.node);
    command
}

fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}
