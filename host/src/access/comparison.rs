//! Compares the access that two sets of policies give, question by question. Principals of whom both sides know the same,
//! as far as their policies can tell, are asked about once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use serde_json::Value;
use tokio::task::yield_now;
use witgate_cases::CaseCall;
use witgate_config::PolicyKind;
use witgate_flow::audit::AuditOutcome;
use witgate_message::call::Target;
use witgate_plugin::Identity;
use witgate_rbac::settings::Condition;

use super::argument_classes::ArgumentClasses;
use super::difference::{AccessChange, AccessDifference, ComparisonExtent};
use super::known_principals::{KnownPrincipal, fulfilling_claims, principals, role_holders};
use super::question::{CallQuestion, QuestionError, QuestionSender};
use super::scene::DecisionScene;
use super::written_rules::WrittenRules;

/// Questions after which other tasks may run: some milliseconds.
const QUESTIONS_IN_A_ROW: u64 = 64;

/// The most pairs of roles.
const MOST_PAIRS: usize = 256;

/// The bounds of a comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ComparisonBounds {
    /// The most questions that are asked of both sides.
    pub(crate) questions: u64,
    /// The most changes of each direction that are kept with their names.
    pub(crate) kept: usize,
    /// The end of the time for it.
    pub(crate) until: Option<Instant>,
}

/// A tool, prompt or resource of an upstream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ComparedTarget {
    /// The name, as patterns write it.
    pub(crate) name: String,
    /// The schema of the arguments.
    pub(crate) schema: Option<Value>,
}

impl From<String> for ComparedTarget {
    fn from(name: String) -> Self {
        Self { name, schema: None }
    }
}

/// The targets and principals that are compared at one upstream.
#[derive(Clone, Debug)]
pub(crate) struct ComparedUpstream {
    pub(crate) name: String,
    pub(crate) targets: Vec<ComparedTarget>,
    /// Principals that no configuration knows, such as callers in the audit.
    pub(crate) others: Vec<KnownPrincipal>,
}

/// Two sets of policies.
#[derive(Clone, Copy)]
pub(crate) struct Comparison<'c> {
    pub(crate) old: DecisionScene<'c>,
    pub(crate) new: DecisionScene<'c>,
    /// The time of all questions, in seconds since the Unix epoch.
    pub(crate) at: u64,
    pub(crate) bounds: ComparisonBounds,
}

impl Comparison<'_> {
    /// The difference at these upstreams. `progress` gets the numbers of asked and of all questions.
    ///
    /// # Errors
    /// If a question cannot be asked.
    pub(crate) async fn run(
        self,
        upstreams: &[ComparedUpstream],
        mut progress: impl FnMut(u64, u64),
    ) -> Result<AccessDifference, QuestionError> {
        let mut plans = Vec::new();
        for upstream in upstreams {
            plans.push(UpstreamPlan::make(self, upstream).await?);
        }
        let all: u64 = plans.iter().map(UpstreamPlan::questions).sum();
        let difference = AccessDifference::default();
        let mut run = ComparisonRun { comparison: self, all, asked: 0, failed: 0, difference };
        for plan in &plans {
            run.difference.left_out.extend(plan.left_out.iter().cloned());
            let ComparisonExtent { principals, targets, .. } = &mut run.difference.extent;
            *principals += plan.principals.len();
            *targets += plan.targets.len();
            run.upstream(plan, &mut progress).await?;
        }
        Ok(run.conclude())
    }
}

/// The conditions of both sides on a target.
fn conditions_on<'r>(rules: &'r [WrittenRules], target: &Target) -> Vec<&'r Condition> {
    rules.iter().flat_map(|rules| rules.conditions_on(target)).collect()
}

/// A principal, as each side knows them. None: the side does not know them, and refuses.
struct ComparedPrincipal {
    kind: &'static str,
    name: String,
    old: Option<QuestionSender>,
    new: Option<QuestionSender>,
}

/// The questions about one upstream.
struct UpstreamPlan {
    name: String,
    /// The place of the upstream on each side. None: the side does not have it.
    old: Option<usize>,
    new: Option<usize>,
    principals: Vec<ComparedPrincipal>,
    /// The principals about whom one question is enough, by their places in `principals`.
    groups: Vec<Vec<usize>>,
    targets: Vec<(CaseCall, String, ArgumentClasses)>,
    /// The parts that are left out, in sentences.
    left_out: Vec<String>,
}

impl UpstreamPlan {
    async fn make(comparison: Comparison<'_>, upstream: &ComparedUpstream) -> Result<Self, QuestionError> {
        let (old, new) = (comparison.old.place(&upstream.name), comparison.new.place(&upstream.name));
        let sides = [(comparison.old, old), (comparison.new, new)];
        let rules: Vec<_> = sides
            .iter()
            .flat_map(|(scene, _)| scene.config.policies.values().filter_map(WrittenRules::of))
            .collect();
        let (principals, are_roles_cut) = paired(comparison, (old, new), &upstream.others, &rules);
        let reads_arguments = !sides.iter().all(|(scene, place)| {
            place.is_none_or(|place| {
                scene.generation.pipeline(place).authorize.iter().all(|policy| policy.is_shipped())
            })
        });
        let mut are_classes_cut = false;
        let plan = |target: &ComparedTarget| {
            let call = CaseCall::named(&target.name);
            let named = Target { kind: call.kind, name: call.target.as_str().into() };
            let conditions = conditions_on(&rules, &named);
            let classes = match conditions.is_empty() && !reads_arguments {
                true => ArgumentClasses::none(),
                false => ArgumentClasses::of(&conditions, target.schema.as_ref(), reads_arguments),
            };
            are_classes_cut |= classes.is_cut;
            (call, target.name.clone(), classes)
        };
        let targets = upstream.targets.iter().map(plan).collect();
        let subjects = rules.iter().flat_map(|rules| &rules.settings().subjects);
        let subjects: BTreeSet<_> = subjects.filter_map(|holder| holder.subject.clone()).collect();
        let groups = match sides.iter().all(|(scene, place)| judges_by_attributes(*scene, *place)) {
            true => grouped(comparison, (old, new), &principals, &subjects).await?,
            false => (0..principals.len()).map(|place| vec![place]).collect(),
        };
        let name = upstream.name.clone();
        let left_out = [(are_classes_cut, "combinations of arguments"), (are_roles_cut, "pairs of roles")];
        let left_out = left_out.into_iter().filter(|(is_cut, _)| *is_cut);
        let left_out = left_out.map(|(_, what)| format!("some {what} at the upstream `{name}`")).collect();
        Ok(Self { name, old, new, principals, groups, targets, left_out })
    }

    fn questions(&self) -> u64 {
        let classes: usize = self.targets.iter().map(|(_, _, classes)| classes.all.len()).sum();
        u64::try_from(classes.saturating_mul(self.groups.len())).unwrap_or(u64::MAX)
    }
}

/// The principals of both sides, each with what the sides know of them. True: some pairs of roles are left out.
fn paired(
    Comparison { old, new, .. }: Comparison<'_>,
    (at_old, at_new): (Option<usize>, Option<usize>),
    others: &[KnownPrincipal],
    rules: &[WrittenRules],
) -> (Vec<ComparedPrincipal>, bool) {
    let mut pairs: BTreeMap<(&'static str, String, Option<String>), ComparedPrincipal> = BTreeMap::new();
    let mut note = |known: KnownPrincipal, of_old: bool, of_new: bool| {
        let KnownPrincipal { kind, name, policy, sender } = known;
        let pair = pairs.entry((kind, name.clone(), policy)).or_insert_with(|| ComparedPrincipal {
            kind,
            name,
            old: None,
            new: None,
        });
        if of_old {
            pair.old = Some(sender.clone());
        }
        if of_new {
            pair.new = Some(sender);
        }
    };
    let of_old = at_old.map(|place| principals(old, place)).unwrap_or_default();
    let of_new = at_new.map(|place| principals(new, place)).unwrap_or_default();
    let mut roles = BTreeSet::new();
    for (known, is_old) in
        of_old.into_iter().map(|known| (known, true)).chain(of_new.into_iter().map(|known| (known, false)))
    {
        let is_role = known.kind == "role";
        if is_role {
            roles.insert(known.name.clone());
        }
        // A role is given by whoever issues credentials, so both sides may meet it.
        note(known, is_old || is_role, !is_old || is_role);
    }
    let scenes = [old, new].into_iter();
    let scopes = scenes.flat_map(|scene| scene.generation.policies().flat_map(|policy| policy.scopes()));
    let scopes: BTreeSet<_> = scopes.cloned().collect();
    let claims = fulfilling_claims(rules.iter().flat_map(WrittenRules::all_conditions));
    let (sets, is_cut) = sets_of(&roles, rules);
    for held in sets {
        let holders = role_holders(&held, &scopes, claims.as_ref());
        holders.into_iter().for_each(|holder| note(holder, true, true));
    }
    others.iter().for_each(|known| note(known.clone(), true, true));
    (pairs.into_values().collect(), is_cut)
}

/// Each role, and each with one that denies: what a role allows, another may deny to whoever holds both.
/// True: there are more pairs than are compared.
fn sets_of(roles: &BTreeSet<String>, rules: &[WrittenRules]) -> (Vec<Vec<String>>, bool) {
    let mut sets: Vec<_> = roles.iter().map(|role| vec![role.clone()]).collect();
    let denies =
        |role: &&String| rules.iter().any(|rules| rules.role(role).is_some_and(|role| !role.deny.is_empty()));
    for denying in roles.iter().filter(denies) {
        let others = roles.iter().filter(|role| *role != denying);
        sets.extend(others.map(|role| vec![role.clone(), denying.clone()]));
    }
    let is_cut = sets.len() > roles.len() + MOST_PAIRS;
    sets.truncate(roles.len() + MOST_PAIRS);
    (sets, is_cut)
}

/// True if the decisions at an upstream rest on nothing of a caller but the policy that knows them, their issuer, roles,
/// scopes and claims, and their subject if a rule names it. That is known of shipped policies alone: the others get the
/// whole principal.
fn judges_by_attributes(scene: DecisionScene<'_>, place: Option<usize>) -> bool {
    let Some(place) = place else { return true };
    let pipeline = scene.generation.pipeline(place);
    let judged =
        pipeline.authorize.iter().all(|policy| policy.kind() == PolicyKind::Rbac && policy.is_shipped());
    let known = pipeline.authenticate.iter().all(|policy| policy.is_shipped());
    judged && known && pipeline.next.is_none() && pipeline.closed.is_none()
}

/// Everything of a caller on which such decisions rest.
type CallerAttributes = Option<(String, Identity)>;

/// The principals with the same attributes on both sides, together.
async fn grouped(
    comparison: Comparison<'_>,
    (old, new): (Option<usize>, Option<usize>),
    principals: &[ComparedPrincipal],
    subjects: &BTreeSet<String>,
) -> Result<Vec<Vec<usize>>, QuestionError> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for (place, principal) in principals.iter().enumerate() {
        let of_old = attributes(comparison, comparison.old, old, principal.old.as_ref(), subjects).await?;
        let of_new = attributes(comparison, comparison.new, new, principal.new.as_ref(), subjects).await?;
        match known.get(&format!("{:?}", (&of_old, &of_new))).and_then(|group| groups.get_mut(*group)) {
            Some(group) => group.push(place),
            None => {
                known.insert(format!("{:?}", (of_old, of_new)), groups.len());
                groups.push(vec![place]);
            }
        }
    }
    Ok(groups)
}

/// The attributes of a sender. None: the side does not know them.
async fn attributes(
    comparison: Comparison<'_>,
    scene: DecisionScene<'_>,
    place: Option<usize>,
    sender: Option<&QuestionSender>,
    subjects: &BTreeSet<String>,
) -> Result<CallerAttributes, QuestionError> {
    let (Some(place), Some(sender)) = (place, sender) else { return Ok(None) };
    let question = question(place, CaseCall::named("method:ping"), None, sender, comparison.at);
    let Some(caller) = scene.explain(&question).await?.caller else { return Ok(None) };
    let mut identity = caller.identity().clone();
    identity.expires_at = None;
    if !subjects.contains(&identity.subject) {
        identity.subject.clear();
    }
    Ok(Some((caller.proven_by().to_string(), identity)))
}

fn question(
    upstream: usize,
    call: CaseCall,
    arguments: Option<Value>,
    sender: &QuestionSender,
    at: u64,
) -> CallQuestion {
    let (headers, peer) = Default::default();
    CallQuestion { upstream, call, arguments, headers, peer, sender: sender.clone(), at }
}

/// A comparison that is under way.
struct ComparisonRun<'c> {
    comparison: Comparison<'c>,
    all: u64,
    asked: u64,
    /// The questions that a policy could not decide.
    failed: u64,
    difference: AccessDifference,
}

/// The changes of one principal's access to one target, in one direction.
#[derive(Default)]
struct FoundClasses {
    arguments: Vec<Option<Value>>,
    refusal: String,
}

impl FoundClasses {
    fn note(&mut self, arguments: Option<&Value>, refusal: String) {
        if self.arguments.is_empty() {
            self.refusal = refusal;
        }
        self.arguments.push(arguments.cloned());
    }
}

impl ComparisonRun<'_> {
    async fn upstream(
        &mut self,
        plan: &UpstreamPlan,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<(), QuestionError> {
        for group in &plan.groups {
            let members = || group.iter().filter_map(|place| plan.principals.get(*place));
            let Some(first) = members().next() else { continue };
            for (call, target, classes) in &plan.targets {
                let (mut gained, mut lost) = (FoundClasses::default(), FoundClasses::default());
                for arguments in &classes.all {
                    if self.is_over() {
                        return Ok(());
                    }
                    let by = (self.comparison.old, plan.old, first.old.as_ref());
                    let old = self.refusal(by, call, arguments.as_ref()).await?;
                    let by = (self.comparison.new, plan.new, first.new.as_ref());
                    let new = self.refusal(by, call, arguments.as_ref()).await?;
                    match (old, new) {
                        (Some(refusal), None) => gained.note(arguments.as_ref(), refusal),
                        (None, Some(refusal)) => lost.note(arguments.as_ref(), refusal),
                        _ => {}
                    }
                    self.asked += 1;
                    if self.asked.is_multiple_of(QUESTIONS_IN_A_ROW) {
                        progress(self.asked, self.all);
                        yield_now().await;
                    }
                }
                members().for_each(|member| self.keep(plan, member, target, (&gained, &lost)));
            }
        }
        Ok(())
    }

    /// True if a bound is reached, which is noted once.
    fn is_over(&mut self) -> bool {
        let bounds = self.comparison.bounds;
        let is_late = bounds.until.is_some_and(|until| Instant::now() >= until);
        if !is_late && self.asked < bounds.questions {
            return false;
        }
        let rest = self.all.saturating_sub(self.asked);
        let why = if is_late { "the time for it was over" } else { "that many are asked at most" };
        let note = format!("{rest} of {} questions, because {why}", self.all);
        if !self.difference.left_out.contains(&note) {
            self.difference.left_out.push(note);
        }
        true
    }

    /// The policy and the reason with which a side refuses a call. None: it allows the call.
    async fn refusal(
        &mut self,
        (scene, place, sender): (DecisionScene<'_>, Option<usize>, Option<&QuestionSender>),
        call: &CaseCall,
        arguments: Option<&Value>,
    ) -> Result<Option<String>, QuestionError> {
        let Some(place) = place else { return Ok(Some("there is no such upstream".to_owned())) };
        let Some(sender) = sender else { return Ok(Some("nobody is known by this name".to_owned())) };
        let question = question(place, call.clone(), arguments.cloned(), sender, self.comparison.at);
        let explanation = scene.explain(&question).await?;
        if explanation.is_allowed() {
            return Ok(None);
        }
        self.failed += u64::from(explanation.outcome == AuditOutcome::Failed);
        let refusal = explanation.cause.map(|cause| match cause.policy {
            Some(policy) => format!("{policy}: {}", cause.reason),
            None => cause.reason,
        });
        Ok(Some(refusal.unwrap_or_else(|| "refused".to_owned())))
    }

    fn keep(
        &mut self,
        plan: &UpstreamPlan,
        principal: &ComparedPrincipal,
        target: &str,
        (gained, lost): (&FoundClasses, &FoundClasses),
    ) {
        let kept = self.comparison.bounds.kept;
        let AccessDifference { gained: all_gained, lost: all_lost, counts, .. } = &mut self.difference;
        let sides = [(gained, all_gained, &mut counts.gained), (lost, all_lost, &mut counts.lost)];
        for (found, all, count) in sides {
            if found.arguments.is_empty() {
                continue;
            }
            *count += 1;
            if all.len() < kept {
                all.push(AccessChange {
                    upstream: plan.name.clone(),
                    kind: principal.kind,
                    principal: principal.name.clone(),
                    target: target.to_owned(),
                    arguments: found.arguments.clone(),
                    refusal: found.refusal.clone(),
                });
            }
        }
    }

    fn conclude(mut self) -> AccessDifference {
        self.difference.extent.questions = self.asked;
        if self.failed > 0 {
            self.difference
                .left_out
                .push(format!("{} answers, because a policy could not decide", self.failed));
        }
        let order = |change: &AccessChange| {
            (change.upstream.clone(), change.kind, change.principal.clone(), change.target.clone())
        };
        self.difference.gained.sort_by_cached_key(order);
        self.difference.lost.sort_by_cached_key(order);
        self.difference
    }
}
