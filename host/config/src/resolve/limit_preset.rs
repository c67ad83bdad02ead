//! `preset` of `[limits.NAME]`: several limits at once, by the kind of credential.

use std::time::Duration;

use super::limits::LimitContext;
use super::resolver::Resolver;
use crate::limits::{CallLimit, CallRate, CredentialKind, LimitPer};
use crate::raw;

/// A limit of a preset: the end of its name, the calls of a caller in a minute, and the kinds of credentials.
struct PresetLimit {
    suffix: &'static str,
    per_minute: u32,
    kinds: fn(CredentialKind) -> bool,
}

impl raw::LimitPreset {
    fn limits(self) -> [PresetLimit; 3] {
        use CredentialKind::{ApiKey, Introspection, Jwt};
        match self {
            Self::Chapter6 => [
                PresetLimit { suffix: "api-key", per_minute: 1_000, kinds: |kind| kind == ApiKey },
                PresetLimit {
                    suffix: "oauth",
                    per_minute: 500,
                    kinds: |kind| matches!(kind, Jwt | Introspection),
                },
                PresetLimit {
                    suffix: "other",
                    per_minute: 100,
                    kinds: |kind| !matches!(kind, ApiKey | Jwt | Introspection),
                },
            ],
        }
    }
}

impl Resolver<'_> {
    /// The limits of a preset, without those for kinds of credentials that nobody can have.
    pub(super) fn preset_limits(
        &mut self,
        file: &raw::File,
        name: &str,
        preset: raw::LimitPreset,
        around: &LimitContext<'_>,
    ) -> Vec<CallLimit> {
        let at = ["limits", name];
        for setting in ["on", "per", "rate", "burst", "concurrent", "roles", "kinds", "upstreams"] {
            let at = [at[0], at[1], setting];
            if self.document.has(&at) {
                let help = "leave it out, or write single limits instead of the preset";
                self.error(&at, format!("`{setting}` has no effect beside `preset`"), help);
            }
        }
        let mut limits = Vec::new();
        for PresetLimit { suffix, per_minute, kinds } in preset.limits() {
            let own = format!("{name}-{suffix}");
            if file.limits.contains_key(&own) {
                let help = "give one of them another name";
                self.error(
                    &["limits", &own],
                    format!("the preset `{name}` has a limit `{own}` already"),
                    help,
                );
            }
            let kinds =
                CredentialKind::ALL.into_iter().filter(|kind| kinds(*kind) && around.is_accepted(*kind));
            let limit = CallLimit {
                name: own,
                on: vec!["*".to_owned()],
                patterns: "*".parse().into_iter().collect(),
                per: [LimitPer::Principal].into(),
                rate: Some(CallRate {
                    count: per_minute,
                    period: Duration::from_secs(60),
                    burst: per_minute,
                }),
                concurrent: None,
                roles: None,
                kinds: Some(kinds.collect()),
                upstreams: None,
            };
            limits.extend(
                Some(limit).filter(|limit| limit.kinds.as_ref().is_some_and(|kinds| !kinds.is_empty())),
            );
        }
        limits
    }
}
