//! The demo: Witgate in front of a real MCP server, with a real client.

mod client;
mod gateway;
mod output;
mod patience;
mod report;
mod scene;
mod steady_client;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::guests::{self, digest, replace};
use crate::tools::{self, Tools};
use client::Answer;
use gateway::Gateway;
use patience::PATIENCE;
use report::Report;
use scene::Scene;
use steady_client::SteadyClient;
use witgate_build::cargo::cargo;
use witgate_build::process::run as run_program;

/// Time limit for a build: all dependencies, compiled on two slow cores, take a quarter of an hour.
const BUILD: Duration = Duration::from_secs(45 * 60);

/// The end of the demo's run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The demo ends by itself.
    Once,
    /// The demo serves until Ctrl-C.
    OnSignal,
}

/// Sets the demo up and runs it. Fails if Witgate does not behave as expected.
pub(crate) fn run(root: &Path, end: End) -> Result<()> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stopped))?;
    }
    let tools = set_up(root)?;
    let directory = tempfile::Builder::new().prefix("witgate-demo-").tempdir()?;
    let scene = Scene::set(root, directory.path(), &tools)?;
    let mut gateway = Gateway::start(&scene)?;
    let mut report = Report::default();

    // The gateway's log explains failures in front of it.
    let result = show(&scene, &gateway, &mut report);
    result.with_context(|| format!("witgate's log:\n{}", gateway.log()))?;
    report.conclude()?;
    if end == End::OnSignal {
        report::invite(&scene);
        gateway.serve_until(|| stopped.load(Ordering::Relaxed))?;
    }
    gateway.stop()
}

/// Builds the components and the host, and downloads the clients, all at once.
fn set_up(root: &Path) -> Result<Tools> {
    // This comes before the build of the host, which embeds components.
    let toolchain = guests::toolchain(root)?;
    thread::scope(|scope| {
        let tools = scope.spawn(|| tools::install_node(root));
        let components = scope.spawn(|| guests::build_for_demo(root, &toolchain));
        build(root)?;
        components.join().unwrap_or_else(|_| bail!("the build of the components panicked"))?;
        tools.join().unwrap_or_else(|_| bail!("the set-up of the tools panicked"))
    })
}

fn build(root: &Path) -> Result<()> {
    println!("host: cargo build --package witgate (the first time takes minutes)");
    let clock = Instant::now();
    let mut build = cargo();
    build.args(["build", "--locked", "--package", "witgate", "--bin", "witgate"]).current_dir(root);
    run_program(&mut build, BUILD)?;
    println!("host: built in {:.1} s", clock.elapsed().as_secs_f64());
    Ok(())
}

fn show(scene: &Scene, gateway: &Gateway, report: &mut Report) -> Result<()> {
    show_decisions(scene, report)?;
    show_swap(scene, gateway, report)?;
    show_refusal(scene, gateway, report)
}

/// Shows the decisions on each caller's calls.
fn show_decisions(scene: &Scene, report: &mut Report) -> Result<()> {
    report.title("Who may call what: api-key.wasm says who is calling, rbac.wasm what they may do");
    let everything = scene.client.directly(&scene.upstream)?;
    report.listed("the server itself", &everything, everything.listed.len());
    for (name, key) in [("alice, developer", &scene.alice), ("bob, guest", &scene.bob)] {
        let list = scene.client.list(&scene.url, Some(key))?;
        report.listed(name, &list, everything.listed.len());
        let hidden = list.listed.len() < everything.listed.len();
        report.expect(list.error.is_none() && hidden, "a list is filtered by what its caller may do");
    }
    let sum = json!({ "a": 2, "b": 3 });
    let hi = json!({ "message": "hi" });
    let none = json!({});
    let stranger = "wg_not-a-key-that-anybody-was-given".to_owned();
    for (caller, key, tool, arguments, allowed) in [
        ("nobody, no key", None, "echo", &hi, false),
        ("a made-up key", Some(&stranger), "echo", &hi, false),
        ("alice, developer", Some(&scene.alice), "echo", &hi, true),
        ("alice, developer", Some(&scene.alice), "get-sum", &sum, true),
        ("alice, developer", Some(&scene.alice), "get-env", &none, false),
        ("bob, guest", Some(&scene.bob), "echo", &hi, true),
        ("bob, guest", Some(&scene.bob), "get-sum", &sum, false),
    ] {
        let answer = scene.client.call(&scene.url, key, tool, arguments)?;
        report.called(caller, tool, &answer);
        // A denial without a reason is a fault, too.
        let right = answer.called.is_some() == allowed && (allowed || answer.reason().is_some());
        report.expect(right, &format!("{caller} calls {tool}"));
    }
    Ok(())
}

/// Replaces a policy while calls run.
fn show_swap(scene: &Scene, gateway: &Gateway, report: &mut Report) -> Result<()> {
    report.title("A policy swapped while calls run: read-only.wasm takes the place of rbac.wasm");
    let before = scene.client.list(&scene.url, Some(&scene.alice))?;
    let old = gateway.rules()?;
    let mut steady = SteadyClient::start(scene)?;
    // The call takes long enough to be running when the policy is swapped. The new policy denies this tool to new
    // calls.
    steady.begin_long_call()?;
    thread::sleep(Duration::from_millis(500));

    let new = scene.read_only()?;
    let swapped_ms = now_ms()?;
    replace(&scene.rules, &new)?;
    let noticed_ms = steady.next_probe(PATIENCE)?;
    let live = gateway.await_rules(|rules| rules.digest == digest(&new))?;
    let done = steady.finish()?;
    let after = scene.client.list(&scene.url, Some(&scene.alice))?;

    report.fact("old digest", &old.digest);
    report.fact("new digest", &live.digest);
    report.fact(
        "took over in",
        &format!(
            "{:.0} ms, from the file's change to the first answer under the new policy",
            noticed_ms - swapped_ms
        ),
    );
    let lost = done.lost.len();
    report.fact("requests", &format!("{} while that happened, {lost} lost", done.calls));
    report.fact("already running", &done.long_call());
    report.fact("alice's list before", &before.names());
    report.fact("alice's list after", &after.names());
    for complaint in done.lost.iter().take(3) {
        report.fact("lost", &complaint.to_string());
    }
    report.expect(old.digest != live.digest, "the digest changes");
    report.expect(done.calls > 0 && lost == 0, "no request is lost");
    report.expect(done.long_succeeded(), "a call that runs ends under the policy it began with");
    report.expect(after.listed.len() < before.listed.len(), "the new policy filters the list");
    Ok(())
}

/// Shows that half a component does not go live.
fn show_refusal(scene: &Scene, gateway: &Gateway, report: &mut Report) -> Result<()> {
    report.title("A broken component: half a file in its place");
    let live = gateway.rules()?;
    let whole = scene.shipped_rules()?;
    let half = whole.get(..whole.len() / 2).unwrap_or_default();
    replace(&scene.rules, half)?;
    let refused = gateway.await_rules(|rules| rules.error.is_some())?;
    let answer =
        scene.client.call(&scene.url, Some(&scene.alice), "echo", &json!({ "message": "still here" }))?;
    report.fact("offered", &digest(half));
    report.fact("refused", refused.error.as_deref().unwrap_or_default());
    report.fact("live", &format!("{} stays", refused.digest));
    report.called("alice, developer", "echo", &answer);
    report.expect(
        refused.digest == live.digest && answer.called.is_some(),
        "a broken component changes nothing",
    );

    replace(&scene.rules, &whole)?;
    let again = gateway.await_rules(|rules| rules.digest == digest(&whole) && rules.error.is_none())?;
    report.fact("put right", &format!("{} (rbac.wasm) is live again", again.digest));
    Ok(())
}

fn now_ms() -> Result<f64> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64() * 1000.0)
}

impl Answer {
    fn names(&self) -> String {
        format!("{}: {}", self.listed.len(), self.listed.join(", "))
    }
}
