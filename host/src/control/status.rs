//! The status of a running Witgate, for `witgate plugin list`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use witgate_plugin::Digest;

use super::definitions::compared;
use super::protocol::{
    AccessReport, Change, Differences, DisagreementCount, GatewayStatus, KeptGeneration, PolicyState,
    PolicyStatus, Shadow, SourceFile, UnwatchedFile,
};
use crate::access::difference::{GenerationDifference, NAMED};
use crate::reload::{Attempt, Reloader};
use witgate_base::digest::{digest_text, sha256};
use witgate_base::path::absolute;
use witgate_component::pool::Pool;
use witgate_config::Mode;
use witgate_flow::definitions::DefinitionWatches;
use witgate_policy::generation::{self, Generation, Generations, Pipeline};
use witgate_policy::{OutageScope, Policy, Source, Tally};

/// The sources of the status.
#[derive(Debug)]
pub(crate) struct StatusReader {
    generations: Arc<Generations>,
    reloader: Option<Arc<Reloader>>,
}

impl StatusReader {
    /// The status of `generations`, and of the candidates that `reloader` makes.
    pub(crate) fn new(generations: Arc<Generations>, reloader: Option<Arc<Reloader>>) -> Self {
        Self { generations, reloader }
    }

    /// The status at this moment.
    pub(super) fn read(&self, watches: &DefinitionWatches) -> GatewayStatus {
        let live = self.generations.live();
        let last = self.reloader.as_ref().and_then(|reloader| reloader.last());
        let reloader = self.reloader.as_ref();
        GatewayStatus {
            generation: live.number(),
            digest: digest_text(&digest(&live)),
            since: seconds(live.since()),
            policies: self.policies(&live),
            last_change: last.as_ref().map(change),
            looked_ms_ago: reloader.map(|reloader| millis(reloader.looked_ago())),
            whole: live.is_whole(),
            rolled_back_to: reloader.and_then(|reloader| reloader.rolled_back_to()),
            waiting_for_restart: reloader.map(|reloader| reloader.waiting()).unwrap_or_default(),
            unwatched: self.unwatched().into_iter().map(unwatched).collect(),
            generations: self.generations.kept().iter().map(kept).collect(),
            access: reloader.and_then(|reloader| reloader.access().last()).as_ref().map(access),
            definitions: compared(&live, watches),
        }
    }

    /// The policies of `live`.
    pub(super) fn policies(&self, live: &Generation) -> Vec<PolicyStatus> {
        let last = self.reloader.as_ref().and_then(|reloader| reloader.last());
        let files = files(live);
        live.policies().map(|policy| policy_status(policy, &files, last.as_ref())).collect()
    }

    /// Files whose changes bring no notification, with the reason.
    fn unwatched(&self) -> BTreeMap<PathBuf, String> {
        self.reloader.as_ref().map(|reloader| reloader.unwatched().all()).unwrap_or_default()
    }

    /// The disagreements of the live generation's shadow policies.
    pub(super) fn differences(&self) -> Differences {
        let live = self.generations.live();
        let shadows = live.policies().filter(|policy| policy.mode() == Mode::Shadow);
        Differences { generation: live.number(), shadows: shadows.map(|policy| shadow(policy)).collect() }
    }
}

fn policy_status(policy: &Policy, files: &Files<'_>, last: Option<&Attempt>) -> PolicyStatus {
    let (source, digest, fallback, version) = match policy.source() {
        Source::Builtin => ("builtin", None, None, None),
        Source::Component { digest, description } => {
            ("component", Some(digest_text(digest)), None, Some(description.version.clone()))
        }
        Source::Fallback { reason } => ("fallback", None, Some(reason.clone()), None),
        Source::Broken { reason } => ("none", None, Some(reason.clone()), None),
    };
    let refused = last.and_then(|attempt| attempt.outcome.as_ref().err()).and_then(|refused| {
        refused.iter().find(|refused| refused.policy.as_deref() == Some(&**policy.name()))
    });
    let state = match (&fallback, refused) {
        _ if policy.is_broken() => PolicyState::Broken,
        (Some(_), _) => PolicyState::Fallback,
        (None, _) if policy.out_for() == OutageScope::Everybody => PolicyState::Out,
        (None, _) if policy.out_for() == OutageScope::SomeCallers => PolicyState::OutForSome,
        // The live policy stays; its replacement is faulty.
        (None, Some(_)) => PolicyState::CandidateRefused,
        (None, None) => PolicyState::Live,
    };
    let error = fallback.or_else(|| refused.map(|refused| refused.message.clone()));
    let counts = policy.counts();
    let failures: BTreeMap<_, _> =
        counts.failures().map(|(failure, count)| (failure.reason().to_owned(), count)).collect();
    let (p50, p99) = counts.times().unzip();
    let micros = |time: Duration| time.as_nanos() as f64 / 1000.0;
    PolicyStatus {
        name: policy.name().to_string(),
        kind: policy.kind().name().to_owned(),
        mode: match policy.mode() {
            Mode::Enforce => "enforce".to_owned(),
            Mode::Shadow => "shadow".to_owned(),
        },
        source: source.to_owned(),
        digest,
        files: Some(files.get(&**policy.name()).into_iter().flatten().map(source_file).collect()),
        version,
        state,
        error,
        calls: counts.calls(),
        denials: counts.denials(),
        failures: failures.values().sum(),
        failures_by_reason: failures,
        fallbacks: counts.fallbacks(),
        disagreements: counts.disagreements(),
        p50_us: p50.map(micros),
        p99_us: p99.map(micros),
        instances: policy.pool().map(Pool::instances),
        memory_bytes: policy.pool().map(Pool::memory),
    }
}

fn shadow(policy: &Policy) -> Shadow {
    let mut all = policy.disagreements().all();
    all.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.count));
    let counts = policy.counts();
    Shadow {
        policy: policy.name().to_string(),
        calls: counts.calls(),
        shed: counts.sheds(),
        failures: counts.failures().map(|(_, count)| count).sum(),
        disagreements: counts.disagreements(),
        left_out: policy.disagreements().left_out(),
        kinds: all.into_iter().map(disagreement).collect(),
    }
}

/// Files by the policies that were made from them, with the digest of their content.
pub(crate) type Files<'a> = BTreeMap<&'a str, BTreeSet<(&'a PathBuf, &'a Option<Digest>)>>;

/// The files that the live policies were built from. While a pipeline is held back on an earlier configuration, a file
/// may appear with two contents.
pub(crate) fn files(live: &Generation) -> Files<'_> {
    let mut files = Files::new();
    for policy in live.served().flat_map(Pipeline::policies) {
        files.entry(policy.name()).or_default().extend(policy.files());
    }
    files
}

/// A secret has no digest here: a digest would let others guess it.
fn source_file((file, digest): &(&PathBuf, &Option<Digest>)) -> SourceFile {
    SourceFile {
        file: absolute(file).to_string_lossy().into_owned(),
        digest: digest.as_ref().map(digest_text),
    }
}

/// SHA-256 of everything that a generation was made from, except secrets: configurations, components, and the content
/// of the files that its policies have read.
pub(crate) fn digest(live: &Generation) -> Digest {
    let written = |digest: &Option<Digest>| digest.as_ref().map(digest_text).unwrap_or_default();
    let mut parts = Vec::new();
    let mut served: Vec<_> = live.served().collect();
    // Their places depend on earlier changes.
    served.sort_by(|one, other| one.upstream.cmp(&other.upstream));
    for pipeline in served {
        parts.push(format!(
            "{} {}",
            pipeline.upstream,
            digest_text(&sha256(pipeline.recipe.config().as_bytes()))
        ));
        for policy in pipeline.policies() {
            parts.push(format!("{} {}", policy.name(), written(&policy.digest())));
            parts.extend(
                policy.files().iter().map(|(file, read)| format!("{} {}", file.display(), written(read))),
            );
        }
    }
    sha256(parts.join("\n").as_bytes())
}

fn kept(kept: &generation::FormerGeneration) -> KeptGeneration {
    let policy = |(name, digest): &(String, Option<Digest>)| (name.clone(), digest.as_ref().map(digest_text));
    KeptGeneration {
        generation: kept.number,
        repeats: (kept.origin != kept.number).then_some(kept.origin),
        since: seconds(kept.since),
        policies: kept.policies.iter().map(policy).collect(),
    }
}

fn access(difference: &GenerationDifference) -> AccessReport {
    let GenerationDifference { before, generation, outcome } = difference;
    let (before, generation) = (*before, *generation);
    match outcome {
        Ok(difference) => AccessReport {
            before,
            generation,
            gained: difference.counts.gained,
            lost: difference.counts.lost,
            examples: difference.examples(NAMED),
            left_out: difference.left_out.clone(),
            unknown: None,
        },
        Err(why) => {
            AccessReport { before, generation, unknown: Some(why.clone()), ..AccessReport::default() }
        }
    }
}

fn disagreement((disagreement, tally): (witgate_policy::Disagreement, Tally)) -> DisagreementCount {
    let witgate_policy::Disagreement { upstream, method, target, live, shadow } = disagreement;
    DisagreementCount {
        count: tally.count,
        last: seconds(tally.last),
        upstream: upstream.into(),
        method: method.into(),
        target: target.map(Into::into),
        live: live.into(),
        shadow: shadow.into(),
    }
}

fn unwatched((file, reason): (PathBuf, String)) -> UnwatchedFile {
    UnwatchedFile { file: file.to_string_lossy().into_owned(), reason }
}

fn change(attempt: &Attempt) -> Change {
    Change {
        at: seconds(attempt.at),
        milliseconds: millis(attempt.took),
        generation: attempt.outcome.as_ref().ok().copied(),
        errors: attempt.outcome.as_ref().err().map(|all| all.iter().map(ToString::to_string).collect()),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since the Unix epoch.
pub(crate) fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
