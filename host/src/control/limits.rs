//! The state of the limits: for operators (`witgate limits`), and for callers (the own tool `limits_status`).

use super::protocol::{LimitBucket, LimitStatus, LimitsReport};
use witgate_base::party::Principal;
use witgate_config::limits::{CredentialKind, LimitPer};
use witgate_policy::generation::{Generation, Generations};
use witgate_policy::limits::{BucketState, CallBucket, CallPart, LimitRule};
use witgate_upstream::own_tools::CallerLimit;

/// Buckets of each limit in a report.
const BUCKETS: usize = 100;

/// The limits of the live generation, by name, with their busiest buckets.
pub(super) fn report(generations: &Generations) -> LimitsReport {
    let live = generations.live();
    let mut limits: Vec<_> = live.limits().rules().iter().map(|rule| status(rule, &live)).collect();
    limits.sort_by(|one, other| one.name.cmp(&other.name));
    LimitsReport { generation: live.number(), limits }
}

fn status(rule: &LimitRule, live: &Generation) -> LimitStatus {
    let (busy, shown) = rule.busy(live.limits().tables().now(), BUCKETS);
    let bucket = |(key, state): (witgate_policy::limits::BucketKey, BucketState)| LimitBucket {
        of: key.parts().map(|(property, value)| (property.to_owned(), value)).collect(),
        remaining: state.remaining,
        running: state.running,
        full_in_s: seconds(state),
    };
    LimitStatus {
        name: rule.name.to_string(),
        rate: rule.rate.map(|rate| rate.to_string()),
        burst: rule.rate.map(|rate| rate.burst),
        concurrent: rule.bounds.concurrent,
        per: rule.per.iter().map(|per| per.name().to_owned()).collect(),
        hits: rule.table.hits(),
        busy,
        buckets: shown.into_iter().map(bucket).collect(),
    }
}

fn seconds(state: BucketState) -> u64 {
    state.full_in.as_secs() + u64::from(state.full_in.subsec_nanos() > 0)
}

/// The limits of a caller of `upstream`, by name. What remains is unknown to a tool, which only knows the caller, if
/// the limit distinguishes other properties of calls, or only applies to some roles.
pub(crate) fn of_caller(
    generations: &Generations,
    upstream: &std::sync::Arc<str>,
    caller: Option<&Principal>,
) -> Vec<CallerLimit> {
    let live = generations.live();
    let policy = caller.and_then(|caller| live.policy(caller.proven_by()));
    let kind = match caller {
        Some(caller) if caller.is_nameless() => Some(CredentialKind::Anonymous),
        _ => policy.and_then(|policy| CredentialKind::of(policy.kind())),
    };
    let by = policy.map(|policy| policy.name());
    let limit = |rule: &LimitRule| {
        let bucket = bucket(rule, upstream, caller.zip(by), kind);
        let state = bucket.map(|bucket| rule.look(&bucket, live.limits().tables().now()));
        CallerLimit {
            name: rule.name.to_string(),
            rate: rule.rate.map(|rate| rate.to_string()),
            burst: rule.rate.map(|rate| rate.burst),
            concurrent: rule.bounds.concurrent,
            per: rule.per.iter().map(|per| per.name().to_owned()).collect(),
            remaining: state.and_then(|state| state.remaining),
            running: state.and_then(|state| state.running),
            full_in_s: state.map(seconds),
        }
    };
    let rules = live.limits().rules().iter();
    let of_caller = rules.filter(|rule| rule.is_for_upstream(upstream) && rule.is_for_kind(|| kind));
    let mut limits: Vec<_> = of_caller.map(limit).collect();
    limits.sort_by(|one, other| one.name.cmp(&other.name));
    limits
}

/// The caller's bucket. None: it depends on more than the caller and the upstream.
fn bucket<'a>(
    rule: &LimitRule,
    upstream: &'a std::sync::Arc<str>,
    caller: Option<(&'a Principal, &'a std::sync::Arc<str>)>,
    kind: Option<CredentialKind>,
) -> Option<CallBucket<'a>> {
    if !rule.is_for_all_roles() {
        return None;
    }
    let mut bucket = CallBucket::default();
    for property in &rule.per {
        bucket.push(match property {
            LimitPer::Principal => {
                let (caller, proven_by) = caller.filter(|(caller, _)| !caller.is_nameless())?;
                CallPart::Principal { proven_by, issuer: caller.issuer(), subject: caller.subject() }
            }
            LimitPer::Credential => CallPart::Credential(kind),
            LimitPer::Upstream => CallPart::Upstream(upstream),
            LimitPer::Role | LimitPer::Peer | LimitPer::Target => return None,
        });
    }
    Some(bucket)
}
