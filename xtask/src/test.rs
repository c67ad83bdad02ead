//! The whole check: set-up, format, lints, tests and documentation.

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

/// The time limit of a step that compiles nothing.
const QUICK: Duration = Duration::from_secs(60);

/// The time limit of a step that compiles nothing, but loads the crates of other platforms.
const LOOK_UP: Duration = Duration::from_secs(5 * 60);

/// The time limit of a build. All dependencies, compiled on two slow cores, take a quarter of an hour.
const COMPILE: Duration = Duration::from_secs(45 * 60);

/// The time limit of a build with the tests: [`COMPILE`] and half an hour.
const TESTS: Duration = Duration::from_secs(75 * 60);

/// The number of slow tests that are named at the end.
const SLOWEST: usize = 20;

/// The options for installing cargo-deny. An optimised build takes three times as long, and the checks would not be
/// noticeably faster.
const DENY_OPTIONS: &[&str] = &["--debug"];

/// Runs all checks. The output of a failed check is shown at once, and the other checks still run.
pub(crate) fn all(root: &Path) -> Result<()> {
    let started = Instant::now();
    let mut suite =
        Suite { root, count: Count::default(), broken: Vec::new(), trouble: Vec::new(), slowest: Vec::new() };
    // Quick checks run first. Checks that only read the code run before checks that execute it.
    suite.need("format and lints", &["fmt", "clippy"])?;
    suite.step("fmt", QUICK, cargo().args(["fmt", "--all", "--check"]));
    suite.check("wit: are the embedded world types current", || wit::check(root));

    // This comes before the first build of the host, which embeds components.
    let toolchain = guests::toolchain(root)?;
    let tools = thread::scope(|scope| {
        let set_up = scope.spawn(|| set_up(root, &toolchain));
        // Clippy and `cargo doc` share the metadata of all dependencies. The build uses separate metadata.
        suite.step(
            "clippy",
            COMPILE,
            cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        );
        // The integration tests run the programs, which a build of tests alone does not produce. The tests are in the
        // same call, so that no processor is idle while the last program is linked.
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

/// Builds the guests, and at the same time installs the tools of the tests and of cargo.
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
    /// The tests that failed, or passed only at a later attempt, in the words of the runner.
    trouble: Vec<String>,
    /// The slowest tests.
    slowest: Vec<String>,
}

impl Suite<'_> {
    /// Runs a cargo command. Prints a line before it, its time after it, and all of its output if it fails.
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

    /// Runs one check. Adds the tests that it counted.
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

    /// Ensures that cargo has these commands. A minimal rustup installs cargo without them.
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

/// The command that runs the tests: nextest, which gives each test a process and a time limit; or cargo itself, if
/// nextest is not there.
fn tests(tools: &Tools, root: &Path) -> Command {
    let mut command = with_tools(cargo(), tools, root);
    if has_nextest() {
        // Many tests wait for programs. Half as many threads again as processors keep all processors busy.
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

/// Installs a cargo command if it is missing. True: it is installed now.
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
