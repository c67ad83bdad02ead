//! `witgate diff`: the access that callers gain and lose between two configurations, generations or components.

mod audited;
mod progress;
mod report;
mod side;
mod targets;

use std::path::PathBuf;

use witgate_base::clock;

use self::progress::ProgressLine;
use self::report::DifferenceReport;
pub(super) use self::side::earlier;
use self::side::source_of;
use self::targets::TargetSource;
use super::audit::LogPlace;
use super::context::Context;
use super::explain::scene::ExplanationScene;
use super::lint::snapshot::ListSnapshot;
use super::outcome::{CommandFailure, Exit};
use super::runtime::runtime;
use super::who_can::account_holders;
use crate::access::comparison::{ComparedUpstream, Comparison, ComparisonBounds};
use crate::access::known_principals::KnownPrincipal;

/// The most questions: half a minute with built-in policies.
const MOST_QUESTIONS: u64 = 400_000;

/// The most changes of each direction that are shown.
const MOST_SHOWN: usize = 10_000;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Former side: directory or file of a configuration, number of a generation, component (`.wasm`), or `live`
    #[arg(value_name = "OLD")]
    old: String,
    /// New side, in the same forms
    #[arg(value_name = "NEW")]
    new: String,
    /// Exit with 1 if somebody gains access
    #[arg(long)]
    no_new_access: bool,
    /// Policy whose component is replaced, if there are several
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Compare calls of this upstream only
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Tool to compare, or `resource:URI`, `prompt:NAME`; may be repeated [default: all that the upstreams list]
    #[arg(long, value_name = "TOOL")]
    call: Vec<String>,
    /// File with the lists of the upstreams, which `witgate lint --live --save-lists FILE` has written
    #[arg(long, value_name = "FILE", conflicts_with = "call")]
    lists: Option<PathBuf>,
    #[command(flatten)]
    place: LogPlace,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let policy = arguments.policy.as_deref();
    let (old, new) =
        (source_of(context, &arguments.old, policy)?, source_of(context, &arguments.new, policy)?);
    let report = runtime()?.block_on(async {
        let at = clock::since_epoch().as_secs();
        let old = ExplanationScene::from(context, &old, at).await?;
        let new = ExplanationScene::from(context, &new, at).await?;
        compare(context, arguments, (&old, &new), at).await
    })?;
    match context.terminal.is_json() {
        true => context.terminal.print_json(&report.to_json()),
        false => {
            report.notes.iter().for_each(|note| context.terminal.say(note));
            context.terminal.print(&report.text());
        }
    }
    Ok(exit(arguments, &report))
}

/// With `--no-new-access`, an incomplete comparison is no proof that nothing is gained.
fn exit(arguments: &Arguments, report: &DifferenceReport) -> Exit {
    let difference = &report.difference;
    match arguments.no_new_access && !(difference.gains_nothing() && difference.is_complete()) {
        true => Exit::No,
        false => Exit::Done,
    }
}

async fn compare(
    context: &Context,
    arguments: &Arguments,
    (old, new): (&ExplanationScene, &ExplanationScene),
    at: u64,
) -> Result<DifferenceReport, CommandFailure> {
    let mut left_out: Vec<_> = old.faults.iter().map(|fault| format!("{}: {fault}", arguments.old)).collect();
    left_out.extend(new.faults.iter().map(|fault| format!("{}: {fault}", arguments.new)));
    let (mut upstreams, mut notes) = (Vec::new(), Vec::new());
    let source = source(arguments)?;
    let audited = audited::callers(context, &arguments.place, &mut notes)?;
    for name in names(arguments, (old, new))? {
        let targets = source.targets(context, (old, new), &name, &mut left_out).await?;
        let others = others((old, new), &name, &audited, &mut notes);
        upstreams.push(ComparedUpstream { name, targets, others });
    }
    let bounds = ComparisonBounds { questions: MOST_QUESTIONS, kept: MOST_SHOWN, until: None };
    let comparison = Comparison { old: old.view(), new: new.view(), at, bounds };
    let mut line = ProgressLine::new(&context.terminal);
    let mut difference = comparison.run(&upstreams, |asked, all| line.show(asked, all)).await?;
    line.clear();
    difference.left_out.extend(left_out);
    notes.dedup();
    Ok(DifferenceReport { difference, notes })
}

/// The source of the compared tools, prompts and resources.
fn source(arguments: &Arguments) -> Result<TargetSource, CommandFailure> {
    match &arguments.lists {
        Some(file) => ListSnapshot::read(file).map(TargetSource::Stored),
        None if arguments.call.is_empty() => Ok(TargetSource::Live),
        None => Ok(TargetSource::Named(arguments.call.clone())),
    }
}

/// The names of the upstreams of both sides.
fn names(
    arguments: &Arguments,
    (old, new): (&ExplanationScene, &ExplanationScene),
) -> Result<Vec<String>, CommandFailure> {
    let all = old.config.upstreams.iter().chain(&new.config.upstreams).map(|upstream| upstream.name.clone());
    let mut names: Vec<_> = all.collect();
    names.sort();
    names.dedup();
    if let Some(only) = &arguments.upstream {
        if !names.contains(only) {
            let names = names.join(", ");
            return Err(CommandFailure::new(format!("there is no upstream `{only}`; there are: {names}")));
        }
        names.retain(|name| name == only);
    }
    Ok(names)
}

/// The principals of an upstream whom no key store and no store of users has: people of accounts, and callers in the audit.
fn others(
    (old, new): (&ExplanationScene, &ExplanationScene),
    name: &str,
    audited: &[audited::AuditedCaller],
    notes: &mut Vec<String>,
) -> Vec<KnownPrincipal> {
    let mut others: Vec<KnownPrincipal> = Vec::new();
    for scene in [new, old] {
        let Some(place) = scene.view().place(name) else { continue };
        for holder in account_holders(scene.view(), place, notes) {
            if !others.iter().any(|known| (&known.name, &known.policy) == (&holder.name, &holder.policy)) {
                others.push(holder);
            }
        }
    }
    others.extend(
        audited.iter().filter(|caller| caller.upstream == name).map(audited::AuditedCaller::principal),
    );
    others
}
