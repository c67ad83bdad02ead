//! The compiled settings, with resolved inheritance.

use std::collections::BTreeMap;

use witgate_plugin::{Call, ConfigError, Data, Pattern, is_scope};

use crate::condition::ParsedCondition;
use crate::facts::Facts;
use crate::patterns::{pattern, patterns};
use crate::scope_template::ScopeTemplate;
use crate::settings::{self, Config};

/// All rules.
#[derive(Debug)]
pub(crate) struct RbacRules {
    /// Sorted by name.
    roles: Vec<RoleRules>,
    /// The places of the roles, by the hash of their names.
    index: Vec<(u64, usize)>,
    /// For each role, the role itself and all roles that it inherits from.
    closures: Vec<RoleSet>,
    scopes: Vec<(Pattern, Vec<String>)>,
    /// The scope of calls that no pattern covers.
    scope_template: Option<ScopeTemplate>,
    /// For each scope that calls need, the scopes that imply it.
    standing_for: BTreeMap<String, Vec<String>>,
    /// The policies whose callers need no scopes.
    unscoped_policies: Vec<String>,
    /// Conditions for all roles.
    pub(crate) conditions: Vec<ParsedCondition>,
    subjects: Vec<(settings::RoleHolder, RoleSet)>,
}

/// One role's own rules.
#[derive(Debug)]
pub(crate) struct RoleRules {
    pub(crate) name: String,
    allow: Vec<Pattern>,
    deny: Vec<Pattern>,
    pub(crate) conditions: Vec<ParsedCondition>,
}

/// Maximum number of roles: the capacity of a [`RoleSet`] of 128 bytes, which a decision keeps on its stack.
const MOST_ROLES: usize = 64 * WORDS;
const WORDS: usize = 16;

/// A set of roles, by their places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoleSet([u64; WORDS]);

impl RbacRules {
    /// # Errors
    /// With the first invalid setting.
    pub(crate) fn compile(config: &Config) -> Result<Self, ConfigError> {
        if config.roles.len() > MOST_ROLES {
            return Err(ConfigError::at("/roles", format!("more than {MOST_ROLES} roles")));
        }
        let names = RoleNames(config.roles.keys().map(String::as_str).collect());
        let roles = config
            .roles
            .iter()
            .map(|(name, role)| RoleRules::compile(name, role))
            .collect::<Result<_, _>>()?;
        let mut index: Vec<(u64, usize)> = names.0.iter().map(|name| hash(name)).zip(0..).collect();
        index.sort_unstable();
        Ok(Self {
            roles,
            index,
            closures: closures(&config.roles, &names)?,
            scopes: config
                .scopes
                .iter()
                .map(|(on, scopes)| required(on, scopes))
                .collect::<Result<_, _>>()?,
            scope_template: ScopeTemplate::compile(config.scope_template.as_deref(), config.scope_wildcards)?,
            standing_for: standing_for(implied(&config.scope_implies, config.scope_wildcards)?),
            unscoped_policies: unscoped_policies(config)?,
            conditions: conditions(&config.conditions, &[])?,
            subjects: assigned(&config.subjects, &names)?,
        })
    }

    /// The data that the conditions need.
    pub(crate) fn data(&self) -> Data {
        Data {
            arguments: self.every_condition().any(ParsedCondition::on_argument),
            claims: self.every_condition().any(ParsedCondition::on_claim),
            ..Data::default()
        }
    }

    fn every_condition(&self) -> impl Iterator<Item = &ParsedCondition> {
        self.roles.iter().flat_map(|role| &role.conditions).chain(&self.conditions)
    }

    /// The roles of the caller and all roles that they inherit from, without duplicates.
    pub(crate) fn roles_of(&self, facts: &Facts<'_, '_>) -> CallerRoles<'_> {
        let mut set = RoleSet::default();
        for name in facts.principal.roles {
            if let Some(place) = self.place(name) {
                set.add_all(self.closures.get(place));
            }
        }
        for (_, roles) in self.subjects.iter().filter(|(subject, _)| is(subject, facts)) {
            for place in roles.places() {
                set.add_all(self.closures.get(place));
            }
        }
        CallerRoles { rules: self, set }
    }

    fn place(&self, name: &str) -> Option<usize> {
        let hash = hash(name);
        let start = self.index.partition_point(|(own, _)| *own < hash);
        let same = self.index.iter().skip(start).take_while(|(own, _)| *own == hash);
        let is_named = |place: &usize| self.roles.get(*place).is_some_and(|role| role.name == name);
        same.map(|(_, place)| *place).find(is_named)
    }

    /// True if callers of this policy need scopes.
    pub(crate) fn scopes_bind(&self, policy: &str) -> bool {
        !self.unscoped_policies.iter().any(|unscoped| unscoped == policy)
    }

    /// True if `scopes` contain `scope`, or a scope that implies it.
    pub(crate) fn has_scope(&self, scopes: &[String], scope: &String) -> bool {
        scopes.contains(scope)
            || self
                .standing_for
                .get(scope)
                .is_some_and(|others| others.iter().any(|other| scopes.contains(other)))
    }

    /// The scopes that a call needs, possibly with duplicates.
    pub(crate) fn scopes_for(&self, call: &Call<'_>) -> impl Iterator<Item = &String> {
        self.scopes.iter().filter(|(on, _)| on.matches(call.kind, call.target)).flat_map(|(_, scopes)| scopes)
    }
}

impl RbacRules {
    /// The scope that the template gives a call. None: the call needs none, or a pattern in `scopes` covers it.
    fn template_scope(&self, call: &Call<'_>) -> Option<(&ScopeTemplate, String)> {
        let template = self.scope_template.as_ref()?;
        let is_covered = self.scopes.iter().any(|(on, _)| on.matches(call.kind, call.target));
        let needed = template.scope_for(call).filter(|_| !is_covered)?;
        Some((template, needed))
    }

    /// True if `held` contain the scope that the template gives a call, or one that stands for it.
    pub(crate) fn has_template_scope(&self, held: &[String], call: &Call<'_>) -> bool {
        self.template_scope(call).is_none_or(|(template, needed)| {
            self.has_scope(held, &needed) || held.iter().any(|own| template.stands_for(own, &needed))
        })
    }

    /// The scope that the template gives a call, and the caller's other scopes of this form: a client that asks only for
    /// the first would lose the others.
    pub(crate) fn template_scopes(&self, held: &[String], call: &Call<'_>) -> Vec<String> {
        // No token can have a scope with spaces, for example: then no login helps.
        let needed = self.template_scope(call).filter(|(_, needed)| is_scope(needed));
        let Some((template, needed)) = needed else { return Vec::new() };
        let kept = held.iter().filter(|own| template.resembles(own)).take(MOST_KEPT).cloned();
        kept.chain([needed]).collect()
    }
}

/// The policies whose callers need no scopes.
///
/// # Errors
/// If nobody needs scopes.
fn unscoped_policies(config: &Config) -> Result<Vec<String>, ConfigError> {
    let has_scopes = config.scope_template.is_some() || !config.scopes.is_empty();
    match config.unscoped_policies.is_empty() || has_scopes {
        true => Ok(config.unscoped_policies.clone()),
        false => {
            Err(ConfigError::at("/unscoped_policies", "has no effect without `scopes` or `scope_template`"))
        }
    }
}

/// The most scopes of a caller in a denial, which has room for 256.
const MOST_KEPT: usize = 128;

/// For each scope, the scopes that imply it, directly or over others.
fn standing_for(implies: &BTreeMap<String, Vec<String>>) -> BTreeMap<String, Vec<String>> {
    let mut standing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for scope in implies.keys() {
        let (mut open, mut found) = (vec![scope], Vec::new());
        while let Some(next) = open.pop() {
            for implied in implies.get(next).into_iter().flatten() {
                if implied != scope && !found.contains(&implied) {
                    found.push(implied);
                    open.push(implied);
                }
            }
        }
        for implied in found {
            standing.entry(implied.clone()).or_default().push(scope.clone());
        }
    }
    standing
}

/// The roles that a caller holds.
pub(crate) struct CallerRoles<'a> {
    rules: &'a RbacRules,
    set: RoleSet,
}

impl<'a> CallerRoles<'a> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a RoleRules> {
        let rules = self.rules;
        self.set.places().filter_map(|place| rules.roles.get(place))
    }
}

impl RoleRules {
    fn compile(name: &str, role: &settings::Role) -> Result<Self, ConfigError> {
        Ok(Self {
            name: name.to_owned(),
            allow: patterns(&role.allow, &["roles", name, "allow"])?,
            deny: patterns(&role.deny, &["roles", name, "deny"])?,
            conditions: conditions(&role.conditions, &["roles", name])?,
        })
    }

    pub(crate) fn allows(&self, call: &Call<'_>) -> bool {
        self.allow.iter().any(|pattern| pattern.matches(call.kind, call.target))
    }

    /// True if none of the role's conditions applies to this call.
    pub(crate) fn is_unconditional_for(&self, call: &Call<'_>) -> bool {
        !self.conditions.iter().any(|condition| condition.is_for(call))
    }

    pub(crate) fn denies(&self, call: &Call<'_>) -> bool {
        self.deny.iter().any(|pattern| pattern.matches(call.kind, call.target))
    }
}

impl RoleSet {
    fn add(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    fn add_all(&mut self, other: Option<&Self>) {
        for (own, word) in self.0.iter_mut().zip(other.map_or([0; WORDS], |other| other.0)) {
            *own |= word;
        }
    }

    fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    fn places(self) -> impl Iterator<Item = usize> {
        let words = (0..).step_by(64).zip(self.0).filter(|(_, word)| *word != 0);
        words.flat_map(|(start, mut word)| {
            std::iter::from_fn(move || {
                let bit = usize::try_from(word.trailing_zeros()).ok().filter(|bit| *bit < 64)?;
                word &= word - 1;
                Some(start + bit)
            })
        })
    }
}

/// The hash FNV-1a. It need not resist attacks: the operator chooses the names of roles.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The configured roles' names, in order.
struct RoleNames<'a>(Vec<&'a str>);

impl RoleNames<'_> {
    fn place(&self, name: &str, path: &[&str]) -> Result<usize, ConfigError> {
        self.0.binary_search(&name).map_err(|_| {
            ConfigError::at_path(
                path,
                format!("no role `{name}` in `roles`; add it there, or write the name of another role"),
            )
        })
    }
}

/// Follows inheritance from every role.
fn closures(
    roles: &BTreeMap<String, settings::Role>,
    names: &RoleNames<'_>,
) -> Result<Vec<RoleSet>, ConfigError> {
    let mut parents = Vec::with_capacity(roles.len());
    for (name, role) in roles {
        parents.push(places(&role.inherits, names, &["roles", name, "inherits"])?);
    }
    let mut closures = Vec::with_capacity(roles.len());
    for (place, name) in names.0.iter().enumerate() {
        let mut set = RoleSet::default();
        let mut open: Vec<usize> = parents.get(place).cloned().unwrap_or_default();
        while let Some(next) = open.pop() {
            if next == place {
                let message = format!("role `{name}` inherits from itself, directly or over other roles");
                return Err(ConfigError::at_path(&["roles", name, "inherits"], message));
            }
            if !set.has(next) {
                set.add(next);
                open.extend(parents.get(next).into_iter().flatten());
            }
        }
        set.add(place);
        closures.push(set);
    }
    Ok(closures)
}

fn places(roles: &[String], names: &RoleNames<'_>, path: &[&str]) -> Result<Vec<usize>, ConfigError> {
    roles
        .iter()
        .enumerate()
        .map(|(index, role)| names.place(role, &[path, &[index.to_string().as_str()]].concat()))
        .collect()
}

fn assigned(
    subjects: &[settings::RoleHolder],
    names: &RoleNames<'_>,
) -> Result<Vec<(settings::RoleHolder, RoleSet)>, ConfigError> {
    let assign = |(index, subject): (usize, &settings::RoleHolder)| {
        let mut set = RoleSet::default();
        for place in places(&subject.roles, names, &["subjects", &index.to_string(), "roles"])? {
            set.add(place);
        }
        Ok((subject.clone(), set))
    };
    subjects.iter().enumerate().map(assign).collect()
}

fn is(subject: &settings::RoleHolder, facts: &Facts<'_, '_>) -> bool {
    subject.subject.as_deref().is_none_or(|own| own == facts.principal.subject)
        && subject.policy == facts.principal.proven_by
        && subject.issuer.as_deref().is_none_or(|issuer| facts.issuer() == Some(issuer))
}

fn required(on: &str, scopes: &[String]) -> Result<(Pattern, Vec<String>), ConfigError> {
    let pattern = pattern(on, &["scopes", on])?;
    if let Some(index) = scopes.iter().position(|scope| has_braces(scope)) {
        return Err(ConfigError::at_path(&["scopes", on, &index.to_string()], BRACES));
    }
    match scopes.iter().position(|scope| !is_scope(scope)) {
        None => Ok((pattern, scopes.to_vec())),
        Some(index) => {
            let message = "not a scope; write one word without spaces, quotes and backslashes";
            Err(ConfigError::at_path(&["scopes", on, &index.to_string()], message))
        }
    }
}

fn conditions(settings: &[settings::Condition], place: &[&str]) -> Result<Vec<ParsedCondition>, ConfigError> {
    let compile = |(index, condition): (usize, &settings::Condition)| {
        ParsedCondition::compile(condition, &[place, &["conditions", &index.to_string()]].concat())
    };
    settings.iter().enumerate().map(compile).collect()
}

/// A placeholder that nobody replaces would be a scope that nobody has.
const BRACES: &str = "a scope with braces stands for itself only; write it as `scope_template`";

fn has_braces(scope: &str) -> bool {
    scope.contains(['{', '}'])
}

/// A wildcard that callers do not hold themselves stands for no other scope.
const IMPLIED_WILDCARD: &str = "an implied scope with `*` stands for itself only, also with `scope_wildcards`; write the scopes that it implies";

/// `scope_implies`, without scopes that look as if they had an effect.
fn implied(
    implies: &BTreeMap<String, Vec<String>>,
    wildcards: bool,
) -> Result<&BTreeMap<String, Vec<String>>, ConfigError> {
    for (scope, implied) in implies {
        let fault = |message| Err(ConfigError::at_path(&["scope_implies", scope], message));
        if has_braces(scope) || implied.iter().any(|scope| has_braces(scope)) {
            return fault(BRACES);
        }
        if wildcards && implied.iter().any(|scope| scope.contains('*')) {
            return fault(IMPLIED_WILDCARD);
        }
    }
    Ok(implies)
}
