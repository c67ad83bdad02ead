//! `witgate doctor`: tries all that a running Witgate needs, and says what is wrong, why it matters, and which line to
//! change. It changes nothing.

mod audit_log;
mod certificates;
mod client;
mod clocks;
mod compile_cache;
mod configuration;
mod credentials;
mod descriptors;
mod file_modes;
mod finding;
mod http_probe;
mod installation;
mod introspection;
mod issuers;
mod key_sets;
mod listeners;
mod notifications;
mod outcome;
mod report;
mod stores;
mod telemetry;
mod upstreams;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{LocalBoxFuture, join_all};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::finding::CheckFinding;
use self::installation::Installation;
use self::outcome::CheckOutcome;
use self::report::{CheckReport, FindingCounts, as_json, as_text};
use super::context::Context;
use super::outcome::{CommandFailure, Exit};
use super::runtime::runtime;
use witgate_upstream::child::process;

/// Maximum time for one check. A package runner, a compiler and a slow server all fit into it.
const LONGEST_CHECK: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Ask nothing over the network, and start no server
    #[arg(long)]
    offline: bool,
    /// Examine the settings of an MCP client instead: their file, or `claude`, `cursor`, `vscode` or `kiro`
    #[arg(long, value_name = "FILE|CLIENT", conflicts_with = "offline")]
    client: Option<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let runtime = runtime()?;
    let reports = runtime.block_on(async {
        match &arguments.client {
            Some(client) => client::examine(context, client).await,
            None => Ok(examine(context, arguments.offline).await),
        }
    });
    // A check that takes too long goes on, and nobody waits for it.
    runtime.shutdown_background();
    let reports = reports?;
    match context.terminal.is_json() {
        true => context.terminal.print_json(&as_json(&reports, arguments.offline)),
        false => context.terminal.print(&as_text(&reports)),
    }
    Ok(if FindingCounts::of(&reports).failures == 0 { Exit::Done } else { Exit::No })
}

async fn examine(context: &Context, is_offline: bool) -> Vec<CheckReport> {
    let path = context.config_path();
    let (installation, noticed) = match Installation::load(path.as_deref(), &context.environment, is_offline)
    {
        Ok(loaded) => loaded,
        Err(faults) => {
            let findings = faults.iter().map(configuration::finding).collect();
            return vec![CheckReport { check: "configuration", findings }];
        }
    };
    let it = Arc::new(installation);
    let asked = |examine: fn(&Installation) -> Vec<CheckFinding>| -> LocalBoxFuture<'static, CheckOutcome> {
        let it = Arc::clone(&it);
        Box::pin(async move {
            let examined = spawn_blocking(move || examine(&it)).await;
            examined.map(Into::into).unwrap_or_else(|error| CheckFinding::fail(error.to_string()).into())
        })
    };
    let checks: Vec<(&'static str, LocalBoxFuture<'static, CheckOutcome>)> = vec![
        ("configuration", Box::pin(configuration::examine(Arc::clone(&it), noticed))),
        ("files", asked(file_modes::examine)),
        ("keys and users", asked(stores::examine)),
        ("upstreams", Box::pin(upstreams::examine(Arc::clone(&it)))),
        ("credentials", Box::pin(credentials::examine(Arc::clone(&it)))),
        ("issuers", Box::pin(issuers::examine(Arc::clone(&it)))),
        ("key sets", Box::pin(key_sets::examine(Arc::clone(&it)))),
        ("introspection", Box::pin(introspection::examine(Arc::clone(&it)))),
        ("listeners", asked(listeners::examine)),
        ("TLS", asked(certificates::examine)),
        ("open files", asked(descriptors::examine)),
        ("notifications", asked(notifications::examine)),
        ("compile cache", asked(compile_cache::examine)),
        ("audit log", asked(audit_log::examine)),
        ("telemetry", Box::pin(telemetry::examine(Arc::clone(&it)))),
    ];
    let (mut reports, mut clocks) = (Vec::new(), Vec::new());
    for (check, outcome) in join_all(checks.into_iter().map(bounded)).await {
        clocks.extend(outcome.clocks);
        reports.push(CheckReport { check, findings: outcome.findings });
    }
    reports.push(CheckReport { check: "clocks", findings: clocks::judge(&clocks) });
    process::end_all().await;
    reports
}

/// The outcome of a check, within its time.
async fn bounded(
    (check, examining): (&'static str, LocalBoxFuture<'static, CheckOutcome>),
) -> (&'static str, CheckOutcome) {
    let outcome = match timeout(LONGEST_CHECK, examining).await {
        Ok(outcome) => outcome,
        Err(_) => CheckFinding::fail(format!("the check takes longer than {LONGEST_CHECK:?}"))
            .because("a server that it asks, or the machine, is too slow")
            .fix("repeat it; `--offline` leaves out all servers")
            .into(),
    };
    (check, outcome)
}
