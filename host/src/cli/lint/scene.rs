//! The configuration with its stores and the lists of its upstreams, as lints look at them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use witgate_rbac::Config as RbacConfig;
use witgate_rbac::settings::Condition;

use super::coverage::parts;
use super::pipeline_place::{PipelineList, upstreams_of};
use super::placed_rules::{
    PatternUse, PlacedCondition, PlacedPattern, RuleOwner, RulePlace, RuleSet, RuleSource,
};
use super::rule_holder::{RuleHolder, StoreEntries};
use super::snapshot::ListSnapshot;
use crate::access::written_rules::WrittenRules;
use witgate_config::pins::EntryKind;
use witgate_config::{Config, PREFIX_END, Policy, Upstream};

/// A configuration, everything that it names, and the known lists.
pub(in crate::cli) struct LintScene {
    pub(in crate::cli) config: Config,
    pub(in crate::cli) lists: ListSnapshot,
    /// The `rbac` policies.
    pub(in crate::cli) policies: Vec<PlacedRules>,
    /// The entries of the stores.
    pub(in crate::cli) holders: Vec<RuleHolder>,
    /// The policies whose stores cannot be read.
    pub(in crate::cli) unreadable: BTreeSet<String>,
    /// The patterns of each role and of each entry.
    pub(in crate::cli) rule_sets: Vec<RuleSet>,
    pub(super) conditions: Vec<PlacedCondition>,
    source: Arc<RuleSource>,
}

/// The rules of an `rbac` policy, as configured.
pub(in crate::cli) struct PlacedRules {
    pub(in crate::cli) policy: String,
    pub(in crate::cli) rules: RbacConfig,
    pub(in crate::cli) place: RulePlace,
    /// The upstreams whose calls it judges.
    pub(in crate::cli) upstreams: Arc<[String]>,
}

impl LintScene {
    /// The scene without any lists.
    pub(in crate::cli) fn new(config: Config) -> Self {
        let path = config.path.as_deref().map(|path| path.display().to_string());
        let name = path.unwrap_or_else(|| "the environment".to_owned());
        let source = Arc::new(RuleSource { name, text: config.text.clone() });
        let policies: Vec<_> =
            config.policies.values().filter_map(|policy| PlacedRules::of(&config, policy, &source)).collect();
        let StoreEntries { holders, unreadable } = StoreEntries::of(&config, &source);
        let mut rule_sets: Vec<_> = policies.iter().flat_map(PlacedRules::rule_sets).collect();
        rule_sets.extend(holders.iter().map(RuleHolder::rule_set));
        let conditions = policies.iter().flat_map(PlacedRules::conditions).collect();
        let lists = ListSnapshot::default();
        Self { lists, config, policies, holders, unreadable, rule_sets, conditions, source }
    }

    /// The same with these lists.
    pub(in crate::cli) fn with(self, lists: ListSnapshot) -> Self {
        Self { lists, ..self }
    }

    /// The place of a setting of the configuration.
    pub(super) fn place(&self, at: &[&str]) -> RulePlace {
        RulePlace::new(&self.source, at)
    }

    pub(super) fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.config.upstreams.iter().find(|upstream| upstream.name == name)
    }

    /// The authenticators of an upstream, in order.
    pub(super) fn authenticators<'s>(&'s self, upstream: &'s Upstream) -> impl Iterator<Item = &'s Policy> {
        upstream.pipeline.authenticate.iter().filter_map(|name| self.config.policies.get(name))
    }

    /// All patterns.
    pub(in crate::cli) fn patterns(&self) -> Vec<PlacedPattern> {
        let of_sets = self.rule_sets.iter().flat_map(|set| set.allow.iter().chain(&set.deny)).cloned();
        let of_scopes = self.policies.iter().flat_map(PlacedRules::scope_patterns);
        let of_conditions = self.conditions.iter().filter_map(|condition| {
            let place = condition.place.below(&["on"]);
            PlacedPattern::new(&condition.condition.on, PatternUse::Condition, place, &condition.upstreams)
        });
        of_sets
            .chain(of_scopes)
            .chain(of_conditions)
            .chain(self.limit_patterns())
            .chain(self.argument_patterns())
            .chain(self.needed_tools())
            .chain(self.owned_names())
            .collect()
    }

    fn limit_patterns(&self) -> impl Iterator<Item = PlacedPattern> {
        self.config.limits.iter().flat_map(|limit| {
            let place = self.place(&["limits", &limit.name, "on"]);
            let all = || self.config.upstreams.iter().map(|upstream| upstream.name.clone()).collect();
            let upstreams = limit.upstreams.clone().unwrap_or_else(all).into();
            PlacedPattern::list(&limit.on, PatternUse::Limit, &place, &upstreams)
        })
    }

    fn argument_patterns(&self) -> impl Iterator<Item = PlacedPattern> {
        let settings =
            self.config.policies.values().filter_map(|policy| Some((policy, policy.argument.as_ref()?)));
        settings.flat_map(|(policy, argument)| {
            let place = self.place(&["policies", &policy.name, "argument", "on"]);
            let upstreams = upstreams_of(&self.config, &policy.name, PipelineList::Authenticate);
            PlacedPattern::list(&argument.on_texts, PatternUse::Argument, &place, &upstreams)
        })
    }

    fn needed_tools(&self) -> impl Iterator<Item = PlacedPattern> {
        self.config.upstreams.iter().flat_map(move |upstream| {
            let own: Arc<[String]> = [upstream.name.clone()].into();
            upstream.credentials.needs.keys().filter_map(move |tool| {
                let place = self.place(&["upstreams", &upstream.name, "needs", tool]);
                PlacedPattern::new(tool, PatternUse::Needs, place, &own)
            })
        })
    }

    /// The patterns of names that upstreams keep at endpoints.
    fn owned_names(&self) -> impl Iterator<Item = PlacedPattern> {
        let members =
            self.config.endpoints.iter().flat_map(|endpoint| {
                endpoint.upstreams.iter().map(move |upstream| (&endpoint.name, upstream))
            });
        members.flat_map(move |(endpoint, upstream)| {
            let place = self.place(&["endpoints", endpoint, "owns", &upstream.name]);
            PlacedPattern::list(&upstream.written, PatternUse::Owns, &place, &[upstream.name.clone()].into())
        })
    }

    /// A pattern as the policies of its upstreams see names, if it is written with the prefix of one at an endpoint.
    pub(super) fn without_prefix<'p>(&self, pattern: &'p PlacedPattern) -> Option<&'p str> {
        let (prefix, rest) = parts(&pattern.text).1.split_once(PREFIX_END)?;
        let is_at_endpoint = self.config.endpoints.iter().flat_map(|endpoint| &endpoint.upstreams);
        let mut of_pattern = is_at_endpoint.filter(|upstream| pattern.upstreams.contains(&upstream.name));
        of_pattern.any(|upstream| upstream.name == prefix).then_some(rest)
    }

    /// The tools that a condition is about, by the known lists.
    pub(super) fn tools_of(&self, condition: &PlacedCondition) -> Vec<&Value> {
        covered(condition, self.lists.known(&condition.upstreams, EntryKind::Tool))
    }

    /// The same. None: some lists are unknown.
    pub(super) fn every_tool_of(&self, condition: &PlacedCondition) -> Option<Vec<&Value>> {
        Some(covered(condition, self.lists.every(&condition.upstreams, EntryKind::Tool)?))
    }
}

fn covered<'l>(condition: &PlacedCondition, tools: Vec<&'l Value>) -> Vec<&'l Value> {
    let is_covered = |tool: &&Value| {
        let name = EntryKind::Tool.name_of(tool);
        name.is_some_and(|name| condition.on.matches(EntryKind::Tool.target_kind(), name))
    };
    tools.into_iter().filter(is_covered).collect()
}

impl PlacedRules {
    fn of(config: &Config, policy: &Policy, source: &Arc<RuleSource>) -> Option<Self> {
        let rules = WrittenRules::of(policy)?.into_settings();
        Some(Self {
            policy: policy.name.clone(),
            rules,
            place: RulePlace::new(source, &["policies", &policy.name, "config"]),
            upstreams: upstreams_of(config, &policy.name, PipelineList::Authorize),
        })
    }

    /// The roles that a role inherits from, directly or over others.
    pub(in crate::cli) fn inherited<'r>(&'r self, role: &'r str) -> BTreeSet<&'r str> {
        let parents = |name: &str| self.rules.roles.get(name).map(|role| role.inherits.as_slice());
        let mut open: Vec<&str> = parents(role).into_iter().flatten().map(String::as_str).collect();
        let mut all = BTreeSet::new();
        while let Some(next) = open.pop() {
            if next != role && all.insert(next) {
                open.extend(parents(next).into_iter().flatten().map(String::as_str));
            }
        }
        all
    }

    /// The own patterns of a role.
    fn own(&self, role: &str, usage: PatternUse) -> Vec<PlacedPattern> {
        let Some(written) = self.rules.roles.get(role) else { return Vec::new() };
        let (list, texts) = match usage {
            PatternUse::Deny => ("deny", &written.deny),
            _ => ("allow", &written.allow),
        };
        PlacedPattern::list(texts, usage, &self.place.below(&["roles", role, list]), &self.upstreams)
    }

    fn rule_sets(&self) -> impl Iterator<Item = RuleSet> {
        self.rules.roles.keys().map(|role| {
            let inherited = self.inherited(role);
            let of_others =
                |usage| inherited.iter().flat_map(|name| self.own(name, usage)).collect::<Vec<_>>();
            RuleSet {
                owner: RuleOwner::Role(role.clone()),
                policy: self.policy.clone(),
                allow: self.own(role, PatternUse::Allow),
                deny: self.own(role, PatternUse::Deny),
                inherited_allow: of_others(PatternUse::Allow),
                inherited_deny: of_others(PatternUse::Deny),
                upstreams: Arc::clone(&self.upstreams),
            }
        })
    }

    fn scope_patterns(&self) -> impl Iterator<Item = PlacedPattern> {
        self.rules.scopes.keys().filter_map(|text| {
            let place = self.place.below(&["scopes", text]);
            PlacedPattern::new(text, PatternUse::Scopes, place, &self.upstreams)
        })
    }

    fn conditions(&self) -> impl Iterator<Item = PlacedCondition> {
        let of_roles = self.rules.roles.iter().flat_map(|(name, role)| {
            let place = self.place.below(&["roles", name, "conditions"]);
            self.placed(&role.conditions, &place, Some(name))
        });
        of_roles.chain(self.placed(&self.rules.conditions, &self.place.below(&["conditions"]), None))
    }

    fn placed(
        &self,
        conditions: &[Condition],
        place: &RulePlace,
        role: Option<&String>,
    ) -> Vec<PlacedCondition> {
        let placed = |(index, condition): (usize, &Condition)| {
            Some(PlacedCondition {
                on: condition.on.parse().ok()?,
                condition: condition.clone(),
                place: place.below(&[&index.to_string()]),
                policy: self.policy.clone(),
                role: role.cloned(),
                upstreams: Arc::clone(&self.upstreams),
            })
        };
        conditions.iter().enumerate().filter_map(placed).collect()
    }
}
