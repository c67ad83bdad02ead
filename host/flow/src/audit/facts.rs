//! The content of an audit record, as a line of its own, or as an event in the log of a program that embeds Witgate.

use std::net::IpAddr;

use super::arguments::ArgumentFacts;
use super::stages::StageTimes;
use crate::decision::DecisionId;
use crate::limit_hit::LimitHit;
use crate::subject::Allowance;
use crate::token_issue::IssueRecord;
use witgate_credentials::upstream_credential::Delegation;
use witgate_message::call::Target;
use witgate_message::era::Era;
use witgate_plugin::Transport;
use witgate_runtime::log::entry::{LogEntry, LogFormat, cut};

/// Maximum number of targets of one message that a record names; `targets` is their number.
const NAMED: usize = 8;

// Maximum length of each text in bytes, in its written form. All texts together, with names and marks, stay below the
// 4,096 bytes that a pipe takes at once.
const NAME: usize = 128;
const METHOD: usize = 256;
const TARGET: usize = 896;
const SUBJECT: usize = 320;
const ISSUER: usize = 256;
const REASON: usize = 128;
const DETAIL: usize = 448;

/// The content of an audit record.
pub(super) struct AuditFacts<'a> {
    pub(super) outcome: &'static str,
    pub(super) decision: DecisionId,
    pub(super) upstream: &'a str,
    pub(super) generation: u64,
    pub(super) method: Option<&'a str>,
    pub(super) targets: &'a [Target],
    pub(super) subject: Option<&'a str>,
    pub(super) issuer: Option<&'a str>,
    pub(super) proven_by: Option<&'a str>,
    /// The policy that has refused.
    pub(super) policy: Option<&'a str>,
    /// The policy that has allowed the message. Only entries of the audit log have it.
    pub(super) allowance: Option<&'a Allowance>,
    pub(super) delegation: Option<&'a Delegation>,
    pub(super) issued: Option<&'a IssueRecord>,
    pub(super) limit: Option<&'a LimitHit>,
    pub(super) fallback: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    pub(super) detail: Option<&'a str>,
    pub(super) era: Option<Era>,
    pub(super) transport: Option<Transport>,
    pub(super) arguments: Option<&'a ArgumentFacts>,
    pub(super) upstream_status: Option<u16>,
    pub(super) upstream_error: Option<&'static str>,
    pub(super) stages: Option<StageTimes>,
    pub(super) peer: Option<IpAddr>,
    pub(super) micros: u64,
}

impl AuditFacts<'_> {
    /// True if the message was allowed and answered.
    pub(super) fn is_allowed(&self) -> bool {
        self.outcome == "allowed"
    }

    pub(super) fn write(&self, line: &mut String, form: LogFormat) {
        let mut entry = LogEntry::begin(line, form, "INFO", "witgate::audit");
        let text = |entry: &mut LogEntry<'_>, name: &str, text: Option<&str>, most: usize| {
            if let Some(text) = text {
                entry.text(name, [text], most);
            }
        };
        entry.text("outcome", [self.outcome], NAME);
        entry.text("decision", [self.decision.to_string().as_str()], NAME);
        entry.text("upstream", [self.upstream], NAME);
        entry.number("generation", self.generation);
        text(&mut entry, "method", self.method, METHOD);
        if !self.targets.is_empty() {
            entry.text("target", self.named(), TARGET);
        }
        if self.targets.len() > 1 {
            entry.number("targets", u64::try_from(self.targets.len()).unwrap_or(u64::MAX));
        }
        text(&mut entry, "subject", self.subject, SUBJECT);
        text(&mut entry, "issuer", self.issuer, ISSUER);
        text(&mut entry, "proven_by", self.proven_by, NAME);
        text(&mut entry, "policy", self.policy, NAME);
        text(&mut entry, "delegated", self.delegated(), NAME);
        text(&mut entry, "issued", self.issued.map(|token| token.id.as_str()), NAME);
        text(&mut entry, "limit", self.limit.map(|hit| &*hit.limit), NAME);
        text(&mut entry, "fallback", self.fallback, NAME);
        text(&mut entry, "reason", self.reason, REASON);
        text(&mut entry, "detail", self.detail, DETAIL);
        if let Some(peer) = self.peer {
            entry.text("peer", [peer.to_string().as_str()], NAME);
        }
        entry.number("micros", self.micros);
        entry.end();
    }

    /// The name of the credential for the upstream.
    fn delegated(&self) -> Option<&str> {
        self.delegation.map(|delegation| &*delegation.credential)
    }

    /// The first targets, as in patterns.
    fn named(&self) -> impl Iterator<Item = &str> + Clone {
        let named = self.targets.iter().take(NAMED).enumerate();
        named.flat_map(|(index, target)| [if index > 0 { "," } else { "" }, target.prefix(), &*target.name])
    }

    pub(super) fn log(&self) {
        if !tracing::enabled!(target: "witgate::audit", tracing::Level::INFO) {
            return;
        }
        let mut cuts = String::new();
        let mut shown =
            |name: &str, text: Option<&str>, most: usize| text.map(|text| cut(name, [text], most, &mut cuts));
        let method = shown("method", self.method, METHOD);
        let subject = shown("subject", self.subject, SUBJECT);
        let issuer = shown("issuer", self.issuer, ISSUER);
        let reason = shown("reason", self.reason, REASON);
        let detail = shown("detail", self.detail, DETAIL);
        let target = (!self.targets.is_empty()).then(|| cut("target", self.named(), TARGET, &mut cuts));
        tracing::info!(
            target: "witgate::audit",
            outcome = self.outcome,
            decision = self.decision.to_string(),
            upstream = self.upstream,
            generation = self.generation,
            method,
            target,
            targets = Some(self.targets.len()).filter(|many| *many > 1),
            subject,
            issuer,
            proven_by = self.proven_by,
            policy = self.policy,
            delegated = self.delegated(),
            issued = self.issued.map(|token| token.id.as_str()),
            limit = self.limit.map(|hit| &*hit.limit),
            fallback = self.fallback,
            reason,
            detail,
            peer = self.peer.map(|peer| peer.to_string()),
            micros = self.micros,
            cut = Some(cuts).filter(|cuts| !cuts.is_empty()),
        );
    }
}

#[cfg(test)]
pub(super) mod tests {
    use witgate_plugin::TargetKind;

    use super::*;

    pub(in crate::audit) fn facts<'a>(targets: &'a [Target], text: &'a str) -> AuditFacts<'a> {
        AuditFacts {
            outcome: "upstream-failed",
            decision: DecisionId::default(),
            upstream: text,
            generation: u64::MAX,
            method: Some(text),
            targets,
            subject: Some(text),
            issuer: Some(text),
            proven_by: Some(text),
            policy: Some(text),
            allowance: None,
            delegation: None,
            issued: None,
            limit: None,
            fallback: Some(text),
            reason: Some(text),
            detail: Some(text),
            era: None,
            transport: None,
            arguments: None,
            upstream_status: None,
            upstream_error: None,
            stages: None,
            peer: Some("1111:1111:1111:1111:1111:1111:1111:1111".parse().unwrap()),
            micros: u64::MAX,
        }
    }

    #[test]
    fn no_line_is_longer_than_an_atomic_write_to_a_pipe() {
        for unit in ["x", "\"", "\u{202e}", "\u{e0041}", "\u{1f600}"] {
            let text = unit.repeat(2000);
            let target = Target { kind: TargetKind::Resource, name: text.as_str().into() };
            for form in [LogFormat::Text, LogFormat::Json] {
                let mut line = String::new();
                facts(&vec![target.clone(); 9], &text).write(&mut line, form);
                assert!(line.len() <= 4096, "{} bytes: {line}", line.len());
                assert!(line.contains("targets"), "{line}");
            }
        }
    }
}
