//! The limits of a generation. Their buckets are in tables outside of it, so that counts outlive it.

mod bucket;
mod status;

use std::sync::Arc;

use witgate_plugin::{Pattern, TargetKind};

pub use bucket::{BucketKey, CallBucket, CallPart};
pub use status::BucketState;
use witgate_config::limits::{CallLimit, CallRate, CredentialKind, LimitPer};
use witgate_runtime::buckets::{Bounds, BucketTable, BucketTables, Rate};

/// The tables of all limits.
pub type LimitTables = BucketTables<BucketKey>;

/// The limits of a generation.
#[derive(Clone, Debug, Default)]
pub struct CallLimits {
    /// In the order in which their tables are locked.
    rules: Vec<LimitRule>,
    tables: Arc<LimitTables>,
}

/// A limit, ready to match calls.
#[derive(Clone, Debug)]
pub struct LimitRule {
    /// The limit's name.
    pub name: Arc<str>,
    /// The properties of a call that have a bucket for each value.
    pub per: Vec<LimitPer>,
    /// The rate, as configured.
    pub rate: Option<CallRate>,
    /// The bounds of each bucket.
    pub bounds: Bounds,
    /// The buckets.
    pub table: Arc<BucketTable<BucketKey>>,
    on: Vec<Pattern>,
    roles: Option<Vec<String>>,
    kinds: Option<Vec<CredentialKind>>,
    upstreams: Option<Vec<String>>,
}

impl CallLimits {
    /// The limits of a configuration, with their buckets in `tables`. A limit keeps the buckets that it has there.
    pub fn new(limits: &[CallLimit], tables: &Arc<LimitTables>) -> Self {
        let mut rules: Vec<_> = limits.iter().map(|limit| LimitRule::new(limit, tables)).collect();
        rules.sort_by_key(|rule| rule.table.number());
        Self { rules, tables: Arc::clone(tables) }
    }

    /// The limits, in the order of their tables.
    pub fn rules(&self) -> &[LimitRule] {
        &self.rules
    }

    /// The tables, with the clock of their buckets.
    pub fn tables(&self) -> &LimitTables {
        &self.tables
    }

    /// Forgets the buckets of limits that neither this generation has nor an earlier one that still has calls.
    pub fn forget_others(&self) {
        let names: Vec<_> = self.rules.iter().map(|rule| Arc::clone(&rule.name)).collect();
        self.tables.keep_only(&names);
    }
}

impl LimitRule {
    fn new(limit: &CallLimit, tables: &LimitTables) -> Self {
        let name = Arc::from(limit.name.as_str());
        let rate = limit.rate.map(|CallRate { count, period, burst }| Rate::new(count, period, burst));
        Self {
            table: tables.table(&name),
            name,
            per: limit.per.iter().copied().collect(),
            rate: limit.rate,
            bounds: Bounds { rate, concurrent: limit.concurrent },
            on: limit.patterns.clone(),
            roles: limit.roles.clone(),
            kinds: limit.kinds.as_ref().map(|kinds| kinds.iter().copied().collect()),
            upstreams: limit.upstreams.clone(),
        }
    }

    /// True if there is a bucket for each value of this property.
    pub fn is_per(&self, property: LimitPer) -> bool {
        self.per.contains(&property)
    }

    /// True if the limit is for calls of `upstream`.
    pub fn is_for_upstream(&self, upstream: &str) -> bool {
        self.upstreams.as_ref().is_none_or(|names| names.iter().any(|name| name == upstream))
    }

    /// True if the limit is for callers with this kind of credential. A kind that is not known counts as any kind.
    pub fn is_for_kind(&self, kind: impl FnOnce() -> Option<CredentialKind>) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kind().is_none_or(|kind| kinds.contains(&kind)))
    }

    /// True if the limit is for callers with these roles.
    pub fn is_for_roles(&self, roles: &[String]) -> bool {
        self.roles.is_none() || roles.iter().any(|role| self.is_for_role(role))
    }

    /// True if the limit is for callers with any roles.
    pub fn is_for_all_roles(&self) -> bool {
        self.roles.is_none()
    }

    /// True if this role of a caller makes the limit apply to them.
    pub fn is_for_role(&self, role: &str) -> bool {
        self.roles.as_ref().is_none_or(|roles| roles.iter().any(|other| other == role))
    }

    /// True if one of the patterns covers this name.
    pub fn covers(&self, kind: TargetKind, name: &str) -> bool {
        self.on.iter().any(|pattern| pattern.matches(kind, name))
    }
}
