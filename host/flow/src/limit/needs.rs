//! The buckets that a call needs, by the limits of its generation.

use smallvec::SmallVec;
use witgate_plugin::TargetKind;

use crate::audit;
use crate::authenticate::identity::Caller;
use crate::authorize::Permit;
use crate::reject::Rejection;
use witgate_base::party::{ANONYMOUS, UNCHECKED};
use witgate_config::limits::{CredentialKind, LimitPer};
use witgate_message::call::{Call, Target};
use witgate_policy::limits::{BucketKey, CallBucket, CallLimits, CallPart, LimitRule};
use witgate_runtime::buckets::NeededBucket;

/// Maximum number of buckets that one call may need: those of a message with the most targets, in four limits.
const MOST: usize = 4_000;

/// The needed buckets. Most calls need few.
pub(super) type NeededBuckets<'a> = SmallVec<[NeededBucket<'a, BucketKey, CallBucket<'a>>; 4]>;

/// Adds the buckets that a call needs to `needed`, in the order of the limits. They are large, so they are made in place.
///
/// # Errors
/// `Full`, if there are too many.
pub(super) fn add_needs<'a>(
    permit: &'a Permit,
    limits: &'a CallLimits,
    needed: &mut NeededBuckets<'a>,
) -> Result<(), Rejection> {
    let rules = limits.rules().iter().filter(|rule| is_for(rule, permit));
    let at = |rule: &'a LimitRule| targets(rule, &permit.request().call).map(move |target| (rule, target));
    for (rule, target) in rules.flat_map(at) {
        if rule.is_per(LimitPer::Role) {
            let roles = roles(rule, permit.caller()).into_iter();
            roles.map(|role| bucket(rule, permit, role, target)).try_for_each(|one| add(one, needed))?;
        } else {
            add(bucket(rule, permit, None, target), needed)?;
        }
    }
    Ok(())
}

fn add<'a>(
    bucket: NeededBucket<'a, BucketKey, CallBucket<'a>>,
    needed: &mut NeededBuckets<'a>,
) -> Result<(), Rejection> {
    if needed.len() >= MOST {
        return Err(Rejection::Full { what: "calls in one message", retry_after: 60 });
    }
    needed.push(bucket);
    Ok(())
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

/// A target of a call, as its kind and name.
type NamedTarget<'a> = (TargetKind, &'a str);

/// The targets that the limit covers and distinguishes; if it does not distinguish them, one of them.
fn targets<'a>(rule: &'a LimitRule, call: &'a Call) -> impl Iterator<Item = NamedTarget<'a>> {
    let method = (TargetKind::Method, call.method());
    // An answer of the client has no method. Without it, a call would never end.
    let by_method = !call.method().is_empty() && rule.covers(method.0, method.1);
    let targets = audit::targets(call.access());
    let is_covered = move |target: &&Target| by_method || rule.covers(target.kind, &target.name);
    let most = if rule.is_per(LimitPer::Target) { usize::MAX } else { 1 };
    let named = targets.iter().filter(is_covered).take(most).map(|target| (target.kind, &*target.name));
    let untargeted = (by_method && targets.is_empty()).then_some(method);
    untargeted.into_iter().chain(named)
}

/// The roles that have buckets of their own, or none once.
fn roles<'a>(rule: &LimitRule, caller: &'a Caller) -> SmallVec<[Option<&'a str>; 2]> {
    let roles = caller.identity().roles.iter().map(String::as_str).filter(|role| rule.is_for_role(role));
    let roles: SmallVec<_> = roles.map(Some).collect();
    if roles.is_empty() { SmallVec::from_slice(&[None]) } else { roles }
}

fn bucket<'a>(
    rule: &'a LimitRule,
    permit: &'a Permit,
    role: Option<&'a str>,
    (target, name): NamedTarget<'a>,
) -> NeededBucket<'a, BucketKey, CallBucket<'a>> {
    let request = permit.request();
    let mut needed = NeededBucket { table: &rule.table, bounds: rule.bounds, name: CallBucket::default() };
    for property in &rule.per {
        needed.name.push(match property {
            LimitPer::Principal => principal(permit),
            LimitPer::Credential => CallPart::Credential(kind(permit)),
            LimitPer::Role => CallPart::Role(role),
            LimitPer::Peer => CallPart::Peer(request.peer.map(Into::into)),
            LimitPer::Upstream => CallPart::Upstream(&request.route.upstream),
            LimitPer::Target => CallPart::Target(target, name),
        });
    }
    needed
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
