//! The durations of a policy's hooks since the start of its generation.

use std::time::Duration;

use witgate_runtime::metrics::histogram::{Histogram, HistogramState, OWN_BOUNDS};

/// A hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `authenticate`.
    Authenticate,
    /// `authorize`.
    Authorize,
    /// `authorize-entries`.
    AuthorizeEntries,
}

/// The code that answered a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A built-in, as configured.
    Builtin,
    /// A component.
    Component,
    /// A built-in in place of a component that is missing or failed. The duration includes the failed attempt.
    Fallback,
}

impl Hook {
    const ALL: [Self; 3] = [Self::Authenticate, Self::Authorize, Self::AuthorizeEntries];

    /// The name, for a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::Authorize => "authorize",
            Self::AuthorizeEntries => "authorize-entries",
        }
    }
}

impl Form {
    const ALL: [Self; 3] = [Self::Builtin, Self::Component, Self::Fallback];

    /// The name, for a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Component => "component",
            Self::Fallback => "fallback",
        }
    }
}

/// The durations of the hooks of one policy.
#[derive(Debug)]
pub struct HookTimes(Vec<(Hook, Form, Histogram)>);

impl Default for HookTimes {
    fn default() -> Self {
        let forms = |hook| Form::ALL.map(|form| (hook, form, Histogram::new(OWN_BOUNDS)));
        Self(Hook::ALL.into_iter().flat_map(forms).collect())
    }
}

impl HookTimes {
    /// Adds the duration of one hook.
    pub(super) fn observe(&self, hook: Hook, form: Form, took: Duration) {
        let histogram = self.0.iter().find(|(of_hook, by_form, _)| (*of_hook, *by_form) == (hook, form));
        if let Some((_, _, histogram)) = histogram {
            histogram.observe(took);
        }
    }

    /// The durations by hook and form, of those that were called.
    pub fn states(&self) -> impl Iterator<Item = (Hook, Form, HistogramState)> {
        let states = self.0.iter().map(|(hook, form, histogram)| (*hook, *form, histogram.state()));
        states.filter(|(_, _, state)| state.count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hook_and_form_has_its_own_durations() {
        let times = HookTimes::default();
        times.observe(Hook::Authorize, Form::Builtin, Duration::from_micros(1));
        times.observe(Hook::Authorize, Form::Fallback, Duration::from_micros(9));
        times.observe(Hook::Authorize, Form::Fallback, Duration::from_micros(9));
        let counts: Vec<_> =
            times.states().map(|(hook, form, state)| (hook.name(), form.name(), state.count)).collect();
        assert_eq!(counts, [("authorize", "builtin", 1), ("authorize", "fallback", 2)]);
    }
}
