//! The possible states, and the verdict of each on each call.

/// A component together with a configuration. Any two successive states differ in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The authorizer's version: even versions are `rbac`, odd ones `read-only`; a custom section makes each
    /// different.
    pub(crate) version: usize,
    /// The configuration's number. It determines the key store, the role of its keys, and the rights of that role.
    pub(crate) config: usize,
}

/// The verdict in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The upstream's result.
    Allowed,
    /// A refusal, with its reason code.
    Refused(String),
}

/// The number of components that take turns.
pub(crate) const VERSIONS: usize = 4;

/// The number of configurations that take turns.
pub(crate) const CONFIGS: usize = 2;

/// The tools that are called. No state allows all of them.
pub(crate) const TOOLS: [&str; 3] = ["greet", "get-even", "get-odd"];

impl State {
    pub(crate) const FIRST: Self = Self { version: 0, config: 0 };

    /// The expected verdict on a call of `tool`.
    ///
    /// An authenticator of one configuration with an authorizer of the other would give a role without rules, and so a
    /// reason that no state has.
    pub(crate) fn verdict(self, tool: &str) -> Verdict {
        let reads_only = self.version % 2 == 1;
        match (tool, self.config) {
            ("greet", _) if reads_only => Verdict::refused("not-read-only"),
            ("get-even", 0) | ("get-odd", 1) if reads_only => Verdict::refused("role-denies"),
            ("get-even", 0) | ("get-odd", 1) => Verdict::refused("denied"),
            _ => Verdict::Allowed,
        }
    }

    /// The next component.
    pub(crate) fn next_version(self) -> Self {
        Self { version: (self.version + 1) % VERSIONS, ..self }
    }

    /// The next configuration.
    pub(crate) fn next_config(self) -> Self {
        Self { config: (self.config + 1) % CONFIGS, ..self }
    }

    /// True if the verdict can be seen during a change from this state to another one. While a new component is
    /// compiled, a new configuration already restricts the former one, and the caller has a role without rules.
    pub(crate) fn shows_on_the_way_to(self, to: Self, verdict: &Verdict) -> bool {
        let changes_both = self.version != to.version && self.config != to.config;
        changes_both && *verdict == Verdict::refused("not-allowed")
    }

    /// A tool whose verdict differs between this state and `other`.
    pub(crate) fn tool_that_tells(self, other: Self) -> Option<&'static str> {
        TOOLS.into_iter().find(|tool| self.verdict(tool) != other.verdict(tool))
    }
}

/// True if one of these successive states gives the verdict on a call of `tool`, or the way from one to the next does.
pub(crate) fn can_give(states: &[State], tool: &str, verdict: &Verdict) -> bool {
    let is_between = |pair: &[State]| match pair {
        [was, to] => was.shows_on_the_way_to(*to, verdict),
        _ => false,
    };
    states.iter().any(|state| state.verdict(tool) == *verdict) || states.windows(2).any(is_between)
}

impl Verdict {
    pub(crate) fn refused(reason: &str) -> Self {
        Self::Refused(reason.to_owned())
    }
}

/// The settings of the authorizer in a configuration: one role, which may do everything but one thing.
pub(crate) fn rules(config: usize) -> String {
    let denied = if config == 0 { "get-even" } else { "get-odd" };
    format!("{{ roles = {{ {} = {{ allow = [\"*\"], deny = [\"{denied}\"] }} }} }}", role(config))
}

/// The role of the keys in the store of a configuration.
pub(crate) fn role(config: usize) -> String {
    format!("role-{config}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_states_a_new_configuration_may_restrict_the_former_component() {
        let was = State { version: 0, config: 0 };
        let to = State { version: 1, config: 1 };
        let verdict = Verdict::refused("not-allowed");
        assert!(can_give(&[was, to], "greet", &verdict));
        assert!(!can_give(&[to], "greet", &verdict), "a whole state gives no such reason");
        assert!(!can_give(&[was, was.next_config()], "greet", &verdict), "nothing is compiled on this way");
    }
}
