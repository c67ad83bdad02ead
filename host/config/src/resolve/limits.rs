//! `[limits.NAME]`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use witgate_plugin::{Pattern, TargetKind};

use super::resolver::Resolver;
use crate::limits::{CallLimit, CallRate, CredentialKind, METHODS, UNITS};
use crate::shape::{listed, nearest};
use crate::{Policy, PolicyKind, Upstream, raw};

/// The longest name, which is part of headers and metrics.
const LONGEST_NAME: usize = 64;

/// The longest time in which an empty bucket may be full again: a longer one would outlast most processes.
const LONGEST_FILL: Duration = Duration::from_secs(31 * 24 * 3600);

/// The most calls of a rate in its time.
const MOST_CALLS: u32 = 1_000_000;

const RATE_HELP: &str =
    "write a number and a unit, such as `100/min`; the units are `s`, `min`, `h` and `day`";

/// The rest of the configuration, as far as limits refer to it.
pub(super) struct LimitContext<'a> {
    upstreams: &'a [Upstream],
    policies: &'a BTreeMap<String, Policy>,
}

impl Resolver<'_> {
    pub(super) fn call_limits(
        &mut self,
        file: &raw::File,
        upstreams: &[Upstream],
        policies: &BTreeMap<String, Policy>,
    ) -> Vec<CallLimit> {
        let around = LimitContext { upstreams, policies };
        let mut limits = Vec::new();
        for (name, written) in &file.limits {
            match written.preset {
                Some(preset) => {
                    self.limit_name(&["limits", name], name);
                    limits.extend(self.preset_limits(file, name, preset, &around));
                }
                None => limits.push(self.limit(name, written, &around)),
            }
        }
        limits
    }

    fn limit(&mut self, name: &str, written: &raw::CallLimit, around: &LimitContext<'_>) -> CallLimit {
        let at = ["limits", name];
        self.limit_name(&at, name);
        let rate = self.rate(&at, written);
        self.limits_something(&at, written);
        let limit = CallLimit {
            name: name.to_owned(),
            on: written.on.clone().unwrap_or_else(|| vec!["*".to_owned()]),
            patterns: self.limited_calls(&at, written),
            per: written.per.iter().copied().collect(),
            rate,
            concurrent: written.concurrent,
            roles: written.roles.clone(),
            kinds: written.kinds.as_ref().map(|kinds| kinds.iter().copied().collect()),
            upstreams: written.upstreams.clone(),
        };
        self.is_for_somebody(&at, written);
        self.limited_upstreams(&at, &limit, around);
        let reached = around.reached_by(&limit);
        self.limited_kinds(&at, &limit, &reached, around);
        self.limited_roles(&at, &limit, &reached, around);
        limit
    }

    fn limit_name(&mut self, at: &[&str], name: &str) {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_plain) {
            let message = format!("`{name}` cannot be the name of a limit, which callers see in a header");
            let help = format!("write at most {LONGEST_NAME} letters, digits, `-`, `_` and `.`");
            self.error(at, message, help);
        }
    }

    fn limits_something(&mut self, at: &[&str; 2], written: &raw::CallLimit) {
        // A value of a wrong type is already reported.
        let has = |setting: &str| self.document.has(&[at[0], at[1], setting]);
        if has("preset") {
            return;
        }
        if !has("rate") && !has("concurrent") {
            let message = format!("the limit `{}` limits nothing", at[1]);
            let help = "add `rate = \"100/min\"`, `concurrent = 4`, or both";
            return self.error(at, message, help);
        }
        if written.burst.is_some() && !has("rate") {
            let help = "add `rate`, or leave `burst` out";
            self.error(&[at[0], at[1], "burst"], "`burst` has no effect without a `rate`", help);
        }
    }

    fn rate(&mut self, at: &[&str; 2], written: &raw::CallLimit) -> Option<CallRate> {
        let text = written.rate.as_deref()?;
        let at_rate = [at[0], at[1], "rate"];
        let (count, period) = match rate_of(text) {
            Ok(rate) => rate,
            Err((message, help)) => {
                self.error(&at_rate, message, help);
                return None;
            }
        };
        let burst = written.burst.unwrap_or(count);
        let fill = period.saturating_mul(burst) / count;
        if fill > LONGEST_FILL {
            let message = format!(
                "a caller who has used all {burst} calls would get them back in {} days",
                fill.as_secs() / 86_400
            );
            self.error(&[at[0], at[1], "burst"], message, "write a smaller `burst`, or a higher `rate`");
        }
        Some(CallRate { count, period, burst })
    }

    /// The patterns in `on`, which are those of `rbac`.
    fn limited_calls(&mut self, at: &[&str; 2], written: &raw::CallLimit) -> Vec<Pattern> {
        let Some(texts) = &written.on else { return "*".parse().into_iter().collect() };
        let mut patterns = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let index = index.to_string();
            let at = [at[0], at[1], "on", &index];
            match text.parse::<Pattern>() {
                Ok(pattern) => {
                    self.method_exists(&at, text, &pattern);
                    patterns.push(pattern);
                }
                Err(error) => self.error(&at, format!("`{text}` is no pattern of calls: {error}"), PATTERNS),
            }
        }
        if self.document.is_empty_list(&[at[0], at[1], "on"]) {
            let message = format!("no call matches the limit `{}`: `on` is empty", at[1]);
            self.warning(&[at[0], at[1], "on"], message, "name calls, or leave `on` out to limit all calls");
        }
        patterns
    }

    /// Warns about the name of a method that is probably misspelled.
    fn method_exists(&mut self, at: &[&str], text: &str, pattern: &Pattern) {
        let Some(method) = text.strip_prefix("method:").filter(|method| !method.contains('*')) else {
            return;
        };
        if METHODS.iter().any(|known| pattern.matches(TargetKind::Method, known)) {
            return;
        }
        let help = match nearest(method, METHODS.iter().copied()) {
            Some(near) => format!("did you mean `method:{near}`?"),
            None => "leave it, if a server has a method of this name".to_owned(),
        };
        self.warning(at, format!("`{method}` is no method of the protocol"), help);
    }

    /// Warns about an empty list of those whom the limit is for.
    fn is_for_somebody(&mut self, at: &[&str; 2], written: &raw::CallLimit) {
        let lists = [
            ("roles", written.roles.as_ref().is_some_and(Vec::is_empty)),
            ("kinds", written.kinds.as_ref().is_some_and(Vec::is_empty)),
            ("upstreams", written.upstreams.as_ref().is_some_and(Vec::is_empty)),
        ];
        for (setting, is_empty) in lists {
            if is_empty && self.document.is_empty_list(&[at[0], at[1], setting]) {
                let message = format!("no call matches the limit `{}`: `{setting}` is empty", at[1]);
                self.warning(
                    &[at[0], at[1], setting],
                    message,
                    format!("leave `{setting}` out to limit all"),
                );
            }
        }
    }

    fn limited_upstreams(&mut self, at: &[&str; 2], limit: &CallLimit, around: &LimitContext<'_>) {
        for (index, name) in limit.upstreams.iter().flatten().enumerate() {
            if self.document.has(&["upstreams", name]) {
                continue;
            }
            let names = around.upstreams.iter().map(|upstream| upstream.name.as_str());
            let help = match nearest(name, names.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("name one of {}", listed(&names.collect::<Vec<_>>())),
            };
            let at = [at[0], at[1], "upstreams", &index.to_string()];
            self.error(&at, format!("there is no upstream `{name}`"), help);
        }
    }

    /// Warns about kinds of credentials that no pipeline of the limited upstreams accepts.
    fn limited_kinds(
        &mut self,
        at: &[&str; 2],
        limit: &CallLimit,
        reached: &[&Upstream],
        around: &LimitContext<'_>,
    ) {
        let Some(kinds) = limit.kinds.as_ref().filter(|_| !reached.is_empty()) else { return };
        for kind in kinds {
            let exists = reached.iter().any(|upstream| around.accepts(upstream, *kind));
            if !exists {
                let message = format!(
                    "no call matches: no pipeline of the limit `{}` accepts `{}`",
                    at[1],
                    kind.name()
                );
                let help = "leave it out, or add a policy of this kind to a pipeline";
                self.warning(&[at[0], at[1], "kinds"], message, help);
            }
        }
    }

    /// Warns about roles that no `rbac` policy knows, if only `rbac` policies decide.
    fn limited_roles(
        &mut self,
        at: &[&str; 2],
        limit: &CallLimit,
        reached: &[&Upstream],
        around: &LimitContext<'_>,
    ) {
        let Some(roles) = &limit.roles else { return };
        let Some(known) = around.known_roles(reached) else { return };
        for (index, role) in roles.iter().enumerate().filter(|(_, role)| !known.contains(role.as_str())) {
            let message = format!("no `rbac` policy and no `anonymous` has the role `{role}`");
            let help = match nearest(role, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "leave it, if only limits use this role".to_owned(),
            };
            self.warning(&[at[0], at[1], "roles", &index.to_string()], message, help);
        }
    }
}

const PATTERNS: &str =
    "write patterns as for `rbac`: `get_*`, `resource:file:///docs/*`, `prompt:*`, or `method:tools/list`";

/// The number of calls and the time of a rate.
fn rate_of(text: &str) -> Result<(u32, Duration), (String, String)> {
    let wrong = |message: String| (message, RATE_HELP.to_owned());
    let (count, unit) = text.split_once('/').unwrap_or((text, ""));
    let (count, unit) = (count.trim(), unit.trim());
    if unit.is_empty() {
        return Err(wrong(format!("`{text}` is no rate")));
    }
    let Some((_, seconds)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let names =
            [("sec", "s"), ("second", "s"), ("m", "min"), ("minute", "min"), ("hour", "h"), ("d", "day")];
        let meant = names.iter().find(|(name, _)| *name == unit).map(|(_, meant)| *meant);
        let help =
            meant.map_or_else(|| RATE_HELP.to_owned(), |meant| format!("did you mean `{count}/{meant}`?"));
        return Err((format!("`{unit}` is no unit of time in `{text}`"), help));
    };
    match count.parse::<u32>() {
        Ok(0) => Err((
            format!("`{text}` permits no call at all"),
            "write at least 1; to forbid calls, deny them in a policy".to_owned(),
        )),
        Ok(count) if count <= MOST_CALLS => Ok((count, Duration::from_secs(*seconds))),
        Ok(_) => Err((format!("`{text}` is out of range"), format!("write a number from 1 to {MOST_CALLS}"))),
        Err(_) => Err(wrong(format!("`{count}` is no number of calls in `{text}`"))),
    }
}

impl<'a> LimitContext<'a> {
    /// The upstreams that a limit is for.
    fn reached_by(&self, limit: &CallLimit) -> Vec<&'a Upstream> {
        let is_reached = |upstream: &&Upstream| {
            limit.upstreams.as_ref().is_none_or(|names| names.contains(&upstream.name))
        };
        self.upstreams.iter().filter(is_reached).collect()
    }

    /// True if some pipeline has callers with this kind of credential.
    pub(super) fn is_accepted(&self, kind: CredentialKind) -> bool {
        self.upstreams.iter().any(|upstream| self.accepts(upstream, kind))
    }

    /// True if the pipeline of `upstream` has callers with this kind of credential. An unusable policy may be of any
    /// kind.
    fn accepts(&self, upstream: &Upstream, kind: CredentialKind) -> bool {
        match kind {
            CredentialKind::Anonymous => upstream.pipeline.anonymous.is_some(),
            kind => {
                let is_of_kind = |policy: &Policy| CredentialKind::of(policy.kind) == Some(kind);
                let mut names = upstream.pipeline.authenticate.iter();
                names.any(|name| self.policies.get(name).is_none_or(is_of_kind))
            }
        }
    }

    /// The roles that the policies of these upstreams know. None: that is unknown, because another kind of policy
    /// may use any role.
    fn known_roles(&self, upstreams: &[&'a Upstream]) -> Option<BTreeSet<&'a str>> {
        let mut known = BTreeSet::new();
        for upstream in upstreams {
            known.extend(upstream.pipeline.anonymous.iter().flatten().map(String::as_str));
            for name in &upstream.pipeline.authorize {
                let policy = self.policies.get(name).filter(|policy| policy.kind == PolicyKind::Rbac)?;
                let roles = policy.config.get("roles").and_then(Value::as_object);
                known.extend(roles?.keys().map(String::as_str));
            }
        }
        Some(known).filter(|known| !known.is_empty())
    }
}
