//! The buckets that a call needs, by the limits of its generation.

use smallvec::SmallVec;
use witgate_plugin::TargetKind;

use crate::authenticate::identity::Caller;
use crate::authorize::Permit;
use crate::reject::Rejection;
use witgate_base::party::{ANONYMOUS, UNCHECKED};
use witgate_config::limits::{CredentialKind, LimitPer};
use witgate_message::call::{Access, Call, Target};
use witgate_policy::limits::{BucketKey, CallBucket, CallLimits, CallPart, LimitRule};
use witgate_runtime::buckets::NeededBucket;

/// Maximum number of buckets that one call may need: those of a message with the most targets, in four limits.
const MOST: usize = 4_000;

/// The needed buckets. Most calls need few.
type NeededBuckets<'a> = SmallVec<[NeededBucket<'a, BucketKey, CallBucket<'a>>; 4]>;

/// The limit of each needed bucket.
type RulesOfBuckets<'a> = SmallVec<[&'a LimitRule; 4]>;

/// The buckets that a call needs, and their limits, in the order of the limits.
///
/// # Errors
/// `Full`, if there are too many.
pub(super) fn needs<'a>(
    permit: &'a Permit,
    limits: &'a CallLimits,
) -> Result<(NeededBuckets<'a>, RulesOfBuckets<'a>), Rejection> {
    let (mut needed, mut rules) = (NeededBuckets::new(), RulesOfBuckets::new());
    for rule in limits.rules().iter().filter(|rule| is_for(rule, permit)) {
        for bucket in buckets(rule, permit) {
            if needed.len() >= MOST {
                return Err(Rejection::Full { what: "calls in one message", retry_after: 60 });
            }
            needed.push(NeededBucket { table: &rule.table, bounds: rule.bounds, name: bucket });
            rules.push(rule);
        }
    }
    Ok((needed, rules))
}

/// True if the limit is for this caller and this upstream.
fn is_for(rule: &LimitRule, permit: &Permit) -> bool {
    rule.is_for_upstream(&permit.request().route.upstream)
        && rule.is_for_roles(&permit.caller().identity().roles)
        && rule.is_for_kind(|| kind(permit))
}

/// The kind of the caller's credential. None: it is not known, because the policy is not in the generation.
fn kind(permit: &Permit) -> Option<CredentialKind> {
    match &**permit.caller().proven_by() {
        ANONYMOUS | UNCHECKED => Some(CredentialKind::Anonymous),
        policy => permit.generation().policy(policy).and_then(|policy| CredentialKind::of(policy.kind())),
    }
}

/// The buckets of a limit that the call needs: one for each combination of its roles and targets, if the limit
/// distinguishes them.
fn buckets<'a>(rule: &'a LimitRule, permit: &'a Permit) -> impl Iterator<Item = CallBucket<'a>> {
    let targets = targets(rule, &permit.request().call);
    let roles = if targets.is_empty() { SmallVec::new() } else { roles(rule, permit.caller()) };
    let pairs = roles.into_iter().flat_map(move |role| targets.clone().into_iter().map(move |at| (role, at)));
    pairs.map(|(role, target)| bucket(rule, permit, role, target))
}

/// A target of a call, as its kind and name.
type NamedTarget<'a> = (TargetKind, &'a str);

/// The targets that the limit covers and distinguishes; if it does not distinguish them, one of them.
fn targets<'a>(rule: &LimitRule, call: &'a Call) -> SmallVec<[NamedTarget<'a>; 1]> {
    let method = (TargetKind::Method, call.method());
    // An answer of the client has no method. Without it, a call would never end.
    let by_method = !call.method().is_empty() && rule.covers(method.0, method.1);
    let named = |target: &'a Target| (target.kind, &*target.name);
    let is_covered = |target: &&Target| by_method || rule.covers(target.kind, &target.name);
    let most = if rule.is_per(LimitPer::Target) { usize::MAX } else { 1 };
    match call.access() {
        Access::Open => by_method.then_some(method).into_iter().collect(),
        Access::Target(target) => Some(target).filter(is_covered).map(named).into_iter().collect(),
        Access::Targets(targets) if targets.is_empty() => by_method.then_some(method).into_iter().collect(),
        Access::Targets(targets) => targets.iter().filter(is_covered).map(named).take(most).collect(),
    }
}

/// The roles that have buckets of their own, or none once.
fn roles<'a>(rule: &LimitRule, caller: &'a Caller) -> SmallVec<[Option<&'a str>; 2]> {
    let roles = caller.identity().roles.iter().map(String::as_str).filter(|role| rule.is_for_role(role));
    let roles: SmallVec<_> = match rule.is_per(LimitPer::Role) {
        true => roles.map(Some).collect(),
        false => SmallVec::new(),
    };
    if roles.is_empty() { SmallVec::from_slice(&[None]) } else { roles }
}

fn bucket<'a>(
    rule: &LimitRule,
    permit: &'a Permit,
    role: Option<&'a str>,
    (target, name): NamedTarget<'a>,
) -> CallBucket<'a> {
    let request = permit.request();
    let mut bucket = CallBucket::default();
    for property in &rule.per {
        bucket.push(match property {
            LimitPer::Principal => principal(permit),
            LimitPer::Credential => CallPart::Credential(kind(permit)),
            LimitPer::Role => CallPart::Role(role),
            LimitPer::Peer => CallPart::Peer(request.peer.map(Into::into)),
            LimitPer::Upstream => CallPart::Upstream(&request.route.upstream),
            LimitPer::Target => CallPart::Target(target, name),
        });
    }
    bucket
}

/// The caller, as a party: callers without a name are distinguished by their network.
fn principal(permit: &Permit) -> CallPart<'_> {
    let caller = permit.caller();
    match permit.request().peer {
        Some(peer) if !caller.is_somebody() => CallPart::Network(peer.into()),
        _ => CallPart::Principal {
            proven_by: caller.proven_by(),
            issuer: caller.identity().issuer.as_deref(),
            subject: &caller.identity().subject,
        },
    }
}
