//! Compares the access that generations give. The policies that are asked are twins of those that decide: built from the
//! same recipes, for explanations alone, and without a network. So a comparison changes nothing.

mod allowance;
mod twin;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use witgate_base::clock;
use witgate_config::environment::Environment;
use witgate_config::pins::{EntryKind, PinMode};
use witgate_policy::generation::{Generation, Generations, Pipeline, Recipe};

use self::allowance::ChangeAllowance;
pub(super) use self::twin::{GenerationTwin, TwinMaker};
use crate::access::comparison::{ComparedTarget, ComparedUpstream, Comparison, ComparisonBounds};
use crate::access::difference::{AccessDifference, GenerationDifference, NAMED};
use crate::access::rule_targets::{RuleTargets, patterns};
use crate::access::scene::DecisionScene;
use crate::operation::OperationLog;

/// The time after a start at which the first twin is made. A process that ends sooner needs none.
const SETTLED: Duration = Duration::from_secs(5);

/// The time limit of a twin. Two twins and a comparison fit into an attempt.
const TWIN: Duration = Duration::from_secs(20);

/// The bounds of a comparison beside running calls: about a second of one processor, without a wait for policies.
const BESIDE_CALLS: ExtentBounds = ExtentBounds { questions: 20_000, time: Duration::from_secs(5) };

/// The bounds of a comparison on which a change waits.
const BEFORE_A_FLIP: ExtentBounds = ExtentBounds { questions: 200_000, time: Duration::from_secs(30) };

/// The pause after a comparison, as a multiple of its time: many changes in a row take a tenth of one processor.
const PAUSE: u32 = 9;

/// The extent of a comparison.
#[derive(Clone, Copy)]
struct ExtentBounds {
    questions: u64,
    time: Duration,
}

/// A generation that a flip has replaced, and that is not compared yet.
#[derive(Clone, Debug)]
struct ReplacedGeneration {
    number: u64,
    recipe: Arc<Recipe>,
    is_whole: bool,
}

/// Compares generations after their flips, and before them if the configuration wants no new access.
#[derive(Debug)]
pub(crate) struct AccessWatch {
    generations: Arc<Generations>,
    maker: TwinMaker,
    /// The twin of the generation that was compared last.
    twin: tokio::sync::Mutex<Option<GenerationTwin>>,
    /// The first generation that was replaced since the last comparison.
    replaced: Mutex<Option<ReplacedGeneration>>,
    wake: Notify,
    last: Mutex<Option<GenerationDifference>>,
    /// True if changes that widen access are refused.
    is_guarding: AtomicBool,
    allowance: Mutex<ChangeAllowance>,
}

impl AccessWatch {
    pub(super) fn new(generations: Arc<Generations>, maker: TwinMaker, is_guarding: bool) -> Self {
        let (twin, replaced, wake, last, allowance) = Default::default();
        let is_guarding = AtomicBool::new(is_guarding);
        Self { generations, maker, twin, replaced, wake, last, is_guarding, allowance }
    }

    /// The last comparison. None: there was none yet.
    pub(crate) fn last(&self) -> Option<GenerationDifference> {
        self.last.lock().clone()
    }

    /// True if changes that widen access are refused.
    pub(super) fn is_guarding(&self) -> bool {
        self.is_guarding.load(Ordering::Relaxed)
    }

    /// Notes a flip. `wants_guard` is the setting of its configuration, which counts once the generation follows it
    /// completely.
    pub(super) fn flipped(&self, before: &Generation, live: &Generation, wants_guard: bool) {
        let stays = self.is_guarding() && !live.is_whole();
        self.is_guarding.store(wants_guard || stays, Ordering::Relaxed);
        // The new access of a change is that beyond the rules before. A renewal of keys leaves them as they are.
        if before.recipe() != live.recipe() {
            *self.allowance.lock() = ChangeAllowance::default();
        }
        self.replaced.lock().get_or_insert_with(|| ReplacedGeneration {
            number: before.number(),
            recipe: Arc::clone(before.recipe()),
            is_whole: before.is_whole(),
        });
        self.wake.notify_one();
    }

    /// Notes a candidate that is refused because of new access, and returns its name.
    pub(super) fn refused(&self, candidate: &Recipe) -> String {
        self.allowance.lock().refuse(candidate)
    }

    /// Allows the candidate of this name that was refused last.
    ///
    /// # Errors
    /// If none was refused, or another one.
    pub(super) fn allow(&self, change: &str) -> Result<(), String> {
        self.allowance.lock().allow(change)
    }

    /// True if an operator has allowed a candidate that is not live yet.
    pub(super) fn has_allowance(&self) -> bool {
        self.allowance.lock().is_open()
    }

    /// True, once, for the candidate that an operator has allowed.
    pub(super) fn takes_allowance(&self, candidate: &Recipe) -> bool {
        self.allowance.lock().take(candidate)
    }

    /// Compares generations after their flips, for as long as the returned future is polled.
    pub(super) async fn run(self: Arc<Self>, audit: OperationLog, environment: impl Fn() -> Environment) {
        tokio::select! {
            () = sleep(SETTLED) => {
                let live = self.generations.live();
                *self.twin.lock().await = self.twin_of(&live, environment()).await.ok();
            }
            () = self.wake.notified() => self.wake.notify_one(),
        }
        loop {
            self.wake.notified().await;
            let began = Instant::now();
            let Some(replaced) = self.replaced.lock().take() else { continue };
            let difference = self.after_flips(replaced, environment()).await;
            report(&difference);
            audit.access_changed(&difference);
            *self.last.lock() = Some(difference);
            sleep(began.elapsed() * PAUSE).await;
        }
    }

    /// The difference between a replaced generation and the live one.
    async fn after_flips(
        &self,
        replaced: ReplacedGeneration,
        environment: Environment,
    ) -> GenerationDifference {
        let live = self.generations.live();
        let mut kept = self.twin.lock().await;
        let outcome = async {
            let former = match kept.take() {
                Some(twin) if twin.number == replaced.number => twin,
                _ if !replaced.is_whole => return Err(in_part(replaced.number)),
                _ => {
                    let made = self.maker.make(&replaced.recipe, replaced.number, environment.clone());
                    within_time(made).await?
                }
            };
            let twin = self.twin_of(&live, environment).await?;
            let difference = self.difference(&former, &twin, BESIDE_CALLS).await;
            *kept = Some(twin);
            difference
        };
        let outcome = outcome.await;
        GenerationDifference { before: replaced.number, generation: live.number(), outcome }
    }

    /// The access that `next` gives and `live` does not, with the data of now on both sides.
    ///
    /// # Errors
    /// With the reason why it is not known.
    pub(super) async fn before_a_flip(
        &self,
        live: &Generation,
        next: &Generation,
        environment: Environment,
    ) -> Result<AccessDifference, String> {
        let former = self.twin_of(live, environment.clone()).await?;
        let twin = self.twin_of(next, environment).await?;
        self.difference(&former, &twin, BEFORE_A_FLIP).await
    }

    async fn twin_of(
        &self,
        generation: &Generation,
        environment: Environment,
    ) -> Result<GenerationTwin, String> {
        match generation.is_whole() {
            true => within_time(self.maker.make(generation.recipe(), generation.number(), environment)).await,
            false => Err(in_part(generation.number())),
        }
    }

    async fn difference(
        &self,
        old: &GenerationTwin,
        new: &GenerationTwin,
        extent: ExtentBounds,
    ) -> Result<AccessDifference, String> {
        let until = Some(Instant::now() + extent.time);
        let bounds = ComparisonBounds { questions: extent.questions, kept: NAMED, until };
        let at = clock::since_epoch().as_secs();
        let (upstreams, left_out) = self.upstreams(old, new);
        let comparison = Comparison { old: old.view(), new: new.view(), at, bounds };
        let compared = comparison.run(&upstreams, |_, _| {});
        // A policy may be slow, so that the bound is not seen between two questions.
        let difference = timeout(extent.time * 2, compared).await;
        let difference = difference.map_err(|_| "the policies took too long".to_owned())?;
        let mut difference = difference.map_err(|error| error.to_string())?;
        difference.left_out.extend(left_out);
        Ok(difference)
    }

    /// The targets that are compared at each upstream: the names that it has listed, those of approved tools, and names that
    /// stand for the patterns of rules.
    fn upstreams(&self, old: &GenerationTwin, new: &GenerationTwin) -> (Vec<ComparedUpstream>, Vec<String>) {
        let all = old.config.upstreams.iter().chain(&new.config.upstreams);
        let names: BTreeSet<_> = all.map(|upstream| upstream.name.as_str()).collect();
        let mut left_out = Vec::new();
        let upstream = |name: &str| {
            let (mut written, mut approved, mut knows_rules) = (BTreeSet::new(), BTreeSet::new(), true);
            for scene in [old.view(), new.view()] {
                let Some(place) = scene.place(name) else { continue };
                written.extend(patterns(scene, place));
                approved.extend(approved_targets(scene, place));
                knows_rules &=
                    scene.generation.pipeline(place).authorize.iter().all(|policy| policy.is_shipped());
            }
            let RuleTargets { names: mut targets, is_cut: is_uncombined } = RuleTargets::of(&written);
            targets.extend(approved);
            left_out.extend(is_uncombined.then(|| format!("some combinations of patterns at `{name}`")));
            match self.listed(name) {
                Some((listed, is_cut)) => {
                    targets.extend(listed);
                    left_out.extend(is_cut.then(|| format!("some of the names that `{name}` lists")));
                }
                None if !knows_rules => {
                    left_out
                        .push(format!("the lists of `{name}`, for which nobody has asked since the start"));
                }
                None => {}
            }
            let targets = targets.into_iter().map(ComparedTarget::from).collect();
            ComparedUpstream { name: name.to_owned(), targets, others: Vec::new() }
        };
        let upstreams = names.into_iter().map(upstream).collect();
        (upstreams, left_out)
    }
}

/// The approved tools, prompts and resources of an upstream at which no others can be used, with one resource of each
/// approved template.
fn approved_targets(scene: DecisionScene<'_>, place: usize) -> Vec<String> {
    let pins = scene.generation.pipeline(place).pins().filter(|pins| pins.mode == PinMode::Hold);
    let Some(pins) = pins else { return Vec::new() };
    let of_kind = |kind: EntryKind| pins.approved.names(kind).map(move |name| kind.target(name));
    let named = EntryKind::TARGETS.into_iter().flat_map(of_kind);
    let templates = pins.approved.names(EntryKind::ResourceTemplate);
    named.chain(templates.map(|template| EntryKind::Resource.target(&resource_of(template)))).collect()
}

/// A resource of a template (RFC 6570), with a value for each of its expressions.
fn resource_of(template: &str) -> String {
    let mut parts = template.split('{');
    let mut resource = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.split_once('}').map_or("", |(_, rest)| rest);
        resource.push('x');
        resource.push_str(rest);
    }
    resource
}

impl AccessWatch {
    /// The names that the upstream of this name has listed, if it is served, and whether some are missing. None: there
    /// was no list yet.
    fn listed(&self, upstream: &str) -> Option<(Vec<String>, bool)> {
        let live = self.generations.live();
        let is_it = |pipeline: &Pipeline| !pipeline.is_retired() && *pipeline.upstream == *upstream;
        let place = live.pipelines().iter().position(is_it)?;
        self.generations.lists().of(place).all()
    }
}

async fn within_time<T>(made: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(TWIN, made).await.unwrap_or_else(|_| Err("its policies could not be built in time".to_owned()))
}

fn in_part(number: u64) -> String {
    format!("generation {number} follows its configuration only in part")
}

/// Logs a difference in one line, if there is one.
fn report(GenerationDifference { before, generation, outcome }: &GenerationDifference) {
    match outcome {
        Ok(difference) if difference.is_none() => {}
        Ok(difference) => {
            let examples = difference.examples(NAMED).join("; ");
            let left_out = difference.left_out.join("; ");
            let (summary, left_out) = (difference.summary(), Some(left_out).filter(|what| !what.is_empty()));
            tracing::info!(before, generation, left_out, "access: {summary}: {examples}");
        }
        Err(why) => tracing::warn!(before, generation, "the difference of access is not known: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::resource_of;

    #[test]
    fn a_template_has_a_resource() {
        for (template, resource) in [("a://b", "a://b"), ("a://{id}/c{?q}", "a://x/cx"), ("a://{id", "a://x")]
        {
            assert_eq!(resource_of(template), resource);
        }
    }
}
