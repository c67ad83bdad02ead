//! `witgate plugin record`: makes a file of cases from the decisions of a running Witgate. Each case runs against the
//! same policy before it is written; a case with another answer is left out.

mod file;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use self::file::counted_calls;
use super::test::loader;
use crate::cli::context::Context;
use crate::cli::control::socket;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::runtime::runtime;
use crate::cli::terminal::counted;
use crate::control;
use crate::control::protocol::{self, ControlCommand, RecordingReport};
use witgate_base::digest::digest_text;
use witgate_base::provenance::Provenance;
use witgate_cases::{CasesError, Suite, TestSubject};
use witgate_component::load::Loader;
use witgate_config::PolicyKind;

/// Time limit for writing and sending the result after the recording has ended.
const AFTERWARDS: Duration = Duration::from_secs(30);

/// The most differing cases that the command names.
const NAMED: usize = 3;

/// The note on cases that are left out.
const DIFFERS: &str = "their answers depend on data that is left out";

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Policy to record, by its name in the configuration
    #[arg(long, value_name = "NAME")]
    policy: String,

    /// Stop after this many calls
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    calls: u64,

    /// Stop after this many seconds
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,

    /// Directory for the file NAME.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,

    /// Keep claims unredacted; they may be personal data
    #[arg(long)]
    claims: bool,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let path = arguments.out.join(format!("{}.toml", arguments.policy));
    if path.exists() {
        let message = format!(
            "{} exists already; move it away, or name another directory with `--out DIR`",
            path.display()
        );
        return Err(CommandFailure::new(message));
    }
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut recording = ask(context, arguments).await?;
        let differing = rehearse(context, &mut recording, &path).await?;
        if !recording.cases.is_empty() {
            write(&path, &file::text(&recording)?)?;
        }
        tell(context, arguments, &recording, &path, &differing);
        Ok(if recording.cases.is_empty() { Exit::No } else { Exit::Done })
    })
}

/// Has the running Witgate record a policy. Ctrl-C ends the recording, and its result is still written.
async fn ask(context: &Context, arguments: &Arguments) -> Result<RecordingReport, CommandFailure> {
    let Arguments { policy, calls, seconds, claims, .. } = arguments.clone();
    let socket = socket(context)?;
    context.terminal.say(&format!(
        "recording `{policy}` until it was asked {calls} times, for {seconds} s at most; Ctrl-C ends it earlier"
    ));
    let command = ControlCommand::PluginRecord { policy: policy.clone(), calls, seconds, claims };
    let patience = Duration::from_secs(seconds) + AFTERWARDS;
    let asked = socket.clone();
    let mut answer = tokio::task::spawn_blocking(move || control::ask_for(&asked, &command, patience));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        Ok(()) = tokio::signal::ctrl_c() => {
            // A recording that has just ended has its answer all the same.
            drop(control::ask(&socket, &ControlCommand::PluginRecordStop { policy }));
            answer.await
        }
    };
    let answer =
        answer.map_err(|error| CommandFailure::new(error.to_string()))?.map_err(CommandFailure::new)?;
    protocol::read(&answer).map_err(CommandFailure::new)
}

/// Runs every case against the policy that it was recorded from, and leaves out each case with another answer, so that
/// the file contains only facts. Returns what differs in the left-out cases.
async fn rehearse(
    context: &Context,
    recording: &mut RecordingReport,
    path: &Path,
) -> Result<Vec<String>, CommandFailure> {
    if recording.cases.is_empty() {
        return Ok(Vec::new());
    }
    let text = file::text(recording)?;
    let suite = Suite::parse(path, &text).map_err(|error| unreadable(&error))?;
    let loader = loader(context)?;
    let kind = suite.kind.unwrap_or(PolicyKind::Custom);
    let subject = match &suite.component {
        Some(component) => {
            look_at(&loader, component, recording.digest.as_deref()).await?;
            TestSubject::component(kind, component)
        }
        None => TestSubject::builtin(kind),
    };
    let (mut kept, mut differing, mut calls) = (Vec::new(), Vec::new(), 0);
    for (seen, case) in std::mem::take(&mut recording.cases).into_iter().zip(&suite.cases) {
        let report = subject.put(&loader, suite.dir(), case).await;
        match report.passed() {
            true => kept.push(seen),
            false => {
                calls += seen.times;
                differing.push(format!("{}: {}", case.name, report.problems().join("; ")));
            }
        }
    }
    recording.cases = kept;
    if calls > 0 {
        recording.left_out.insert(DIFFERS.to_owned(), calls);
    }
    Ok(differing)
}

/// Checks that the component on disk is the recorded one.
async fn look_at(loader: &Loader, component: &Path, digest: Option<&str>) -> Result<(), CommandFailure> {
    let loaded = loader.load(component, &Provenance::default()).await;
    let loaded = loaded.map_err(|error| CommandFailure::new(error.to_string()))?;
    match digest == Some(digest_text(&loaded.digest).as_str()) {
        true => Ok(()),
        false => Err(CommandFailure::new(format!(
            "{} is not the component that was recorded; nothing was written. Record again once Witgate runs what is there",
            component.display()
        ))),
    }
}

fn unreadable(error: &CasesError) -> CommandFailure {
    CommandFailure::new(format!("the recording cannot be read as cases: {error}; nothing was written"))
}

/// Writes a file that only its owner can read: it contains names of callers.
fn write(path: &Path, text: &str) -> Result<(), CommandFailure> {
    let failed =
        |error: std::io::Error| CommandFailure::new(format!("cannot write {}: {error}", path.display()));
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn tell(
    context: &Context,
    arguments: &Arguments,
    recording: &RecordingReport,
    path: &Path,
    differing: &[String],
) {
    let RecordingReport { policy, cases, calls, shed, left_out, ended, .. } = recording;
    if context.terminal.is_json() {
        context.terminal.print_json(&json!({
            "policy": policy, "file": (!cases.is_empty()).then_some(path), "cases": cases.len(), "calls": calls,
            "shed": shed, "left_out": left_out, "differing": differing, "ended": ended,
        }));
        return;
    }
    let mut text = match cases.is_empty() {
        true => format!("{} of `{policy}`, and no case: nothing was written", counted_calls(*calls)),
        false => format!(
            "{} of `{policy}` gave {} in {}",
            counted_calls(*calls),
            counted(cases.len(), "case"),
            path.display()
        ),
    };
    for (why, count) in left_out {
        text.push_str(&format!("\nleft out: {count}, because {why}"));
    }
    for problem in differing.iter().take(NAMED) {
        text.push_str(&format!("\n  {problem}"));
    }
    if !differing.is_empty() && !arguments.claims {
        text.push_str("\nwhere decisions depend on claims, record with `--claims`");
    }
    if *shed > 0 {
        text.push_str(&format!("\nnot recorded: {shed}, which came faster than they could be written down"));
    }
    if ended == "reload" {
        text.push_str("\nit ended early: the policies have changed meanwhile");
    }
    if !cases.is_empty() {
        text.push_str(&format!(
            "\nto run it against another component: `witgate plugin test {} --component FILE`",
            path.display()
        ));
    }
    context.terminal.print(&text);
}
