//! The options that choose entries.

use witgate_audit::select::{EntryFilter, entry_time};

/// Conditions on entries; all of them have to hold.
#[derive(Debug, Default, clap::Args)]
pub(super) struct FilterOptions {
    /// Subject of the caller
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Tool, prompt or resource
    #[arg(long, alias = "target", value_name = "NAME")]
    tool: Option<String>,
    /// Outcome: allowed, denied, refused, no-credential, malformed, failed, rate-limited, locked-out,
    /// upstream-failed, cancelled or ended
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// Reason code
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Policy that decided
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Upstream
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Method, such as tools/call
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Number of the generation that decided
    #[arg(long, value_name = "NUMBER")]
    generation: Option<u64>,
    /// Kind of entry, such as decision or reload
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Earliest time: a date, a time (RFC 3339, UTC), or a duration before now such as 2h
    #[arg(long, value_name = "TIME", value_parser = entry_time)]
    since: Option<String>,
    /// Time before which entries have to be, in the same forms
    #[arg(long, value_name = "TIME", value_parser = entry_time)]
    until: Option<String>,
}

impl FilterOptions {
    /// The conditions.
    pub(super) fn filter(&self) -> EntryFilter {
        let generation = self.generation.map(|number| number.to_string());
        let members = [
            ("subject", &self.subject),
            ("target", &self.tool),
            ("outcome", &self.outcome),
            ("reason", &self.reason),
            ("policy", &self.policy),
            ("upstream", &self.upstream),
            ("method", &self.method),
            ("generation", &generation),
            ("kind", &self.kind),
        ];
        let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        EntryFilter { members: given.collect(), since: self.since.clone(), until: self.until.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_the_form_of_entries() {
        assert_eq!(entry_time("2026-11-30").as_deref(), Ok("2026-11-30T00:00:00.000000Z"));
        assert_eq!(entry_time("2026-11-30T09:08:07Z").as_deref(), Ok("2026-11-30T09:08:07.000000Z"));
        assert_eq!(entry_time("2026-11-30 09:08:07.5").as_deref(), Ok("2026-11-30T09:08:07.500000Z"));
        let (before, now) = (entry_time("2h").unwrap(), witgate_audit::time_text());
        assert!(before < now && before.len() == now.len(), "{before}");
        assert!(entry_time("soon").unwrap_err().contains("2h"));
    }
}
