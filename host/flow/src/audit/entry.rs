//! The entry of a record in the audit log. Unlike a line on standard error, it is whole: it names every target.

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use tokio::time::timeout;

use super::arguments::{ArgumentFacts, ShownArguments, arguments};
use super::facts::AuditFacts;
use super::stages::StageTimes;
use crate::decision::DecisionId;
use crate::definition_log::{DefinitionFinding, DefinitionLog};
use crate::disagreement_log::DisagreementLog;
use crate::limit_hit::LimitHit;
use crate::reject::Rejection;
use crate::request::Request;
use crate::token_issue::IssueRecord;
use witgate_audit::{AuditLog, DurableEntry, EntryPlace, SyncMode, WRITE_DEADLINE, time_text};
use witgate_base::digest::{digest_text, sha256};
use witgate_config::{AuditOverflow, RecordLines};
use witgate_credentials::upstream_credential::Delegation;
use witgate_message::call::Target;
use witgate_message::credential::Credentials;
use witgate_message::era::Era;
use witgate_plugin::Transport;
use witgate_policy::Disagreement;

/// The number of targets of one message that an entry names; `targets` is their number.
const NAMED: usize = 64;

/// The maximum length of a text in bytes. Names and URIs are much shorter.
const TEXT: usize = 8 << 10;

/// The audit log as the destination of records.
#[derive(Clone, Debug)]
pub struct EntryLog {
    log: Arc<AuditLog>,
    sync: SyncMode,
    unavailable: AuditOverflow,
    node: Arc<str>,
    arguments: Arc<ShownArguments>,
    lines: RecordLines,
}

/// A shadow policy that would have decided otherwise. `docs/audit.md` describes its members.
#[derive(Serialize)]
struct ShadowEntry<'a> {
    kind: &'static str,
    time: String,
    #[serde(serialize_with = "displayed")]
    id: DecisionId,
    node: &'a str,
    generation: u64,
    policy: &'a str,
    #[serde(flatten)]
    disagreement: ShadowDisagreement<'a>,
}

/// The disagreement of a shadow policy with the decision.
#[derive(Serialize)]
struct ShadowDisagreement<'a> {
    upstream: &'a str,
    method: BoundedText<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<BoundedText<'a>>,
    live: BoundedText<'a>,
    shadow: BoundedText<'a>,
}

/// A definition that is not approved. `docs/audit.md` describes its members.
#[derive(Serialize)]
struct DefinitionEntry<'a> {
    kind: &'static str,
    time: String,
    node: &'a str,
    upstream: &'a str,
    target: BoundedText<'a>,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    withheld: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    others: Option<u64>,
}

/// An entry that has to be durable before the answer.
#[derive(Debug)]
pub(super) struct UnsettledEntry {
    entry: DurableEntry,
    unavailable: AuditOverflow,
}

thread_local! {
    /// The buffer of the current entry.
    static ENTRY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl EntryLog {
    /// Records as entries of `log`, with the behaviour while they cannot be written.
    pub fn new(log: Arc<AuditLog>, sync: SyncMode, unavailable: AuditOverflow) -> Self {
        let (node, arguments, lines) = ("".into(), Arc::default(), RecordLines::All);
        Self { log, sync, unavailable, node, arguments, lines }
    }

    /// The same, with the name of this instance, and with arguments that entries show.
    #[must_use]
    pub fn with(self, node: &str, arguments: ShownArguments) -> Self {
        Self { node: node.into(), arguments: Arc::new(arguments), ..self }
    }

    /// The same, with a choice of the records that are also lines.
    #[must_use]
    pub fn leaving_lines(self, lines: RecordLines) -> Self {
        Self { lines, ..self }
    }

    /// The name of this instance.
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// True if a record is also a line. While entries cannot be written, all are.
    pub(super) fn leaves_line(&self, facts: &AuditFacts<'_>) -> bool {
        let is_chosen = match self.lines {
            RecordLines::All => true,
            RecordLines::Refusals => !facts.is_allowed(),
            RecordLines::None => false,
        };
        is_chosen || !self.log.is_available()
    }

    /// The arguments of a request.
    pub(super) async fn arguments(
        &self,
        request: &Arc<Request>,
        credentials: Option<&Credentials>,
    ) -> Option<Box<ArgumentFacts>> {
        arguments(&self.log, &self.arguments, request, credentials).await
    }

    /// The place for an entry. None: the entry is written if there is room.
    pub(super) fn reserve(&self) -> Result<Option<EntryPlace>, Rejection> {
        match (self.log.reserve(), self.unavailable) {
            (None, AuditOverflow::Deny) => Err(Rejection::Unrecorded),
            (place, _) => Ok(place),
        }
    }

    /// Writes an entry. Returns it if the answer has to wait for it.
    pub(super) fn write(&self, facts: &AuditFacts<'_>, place: Option<EntryPlace>) -> Option<UnsettledEntry> {
        ENTRY.with_borrow_mut(|entry| {
            entry.clear();
            // Writing to a buffer does not fail.
            drop(serde_json::to_writer(&mut *entry, &DecisionEntry::of(facts, &self.node)));
            let is_optional = self.unavailable == AuditOverflow::Count && !self.log.is_available();
            match self.sync {
                SyncMode::BeforeAnswer if !is_optional => {
                    let entry = self.log.append_durably(entry, place);
                    Some(UnsettledEntry { entry, unavailable: self.unavailable })
                }
                SyncMode::Batched | SyncMode::BeforeAnswer => {
                    self.log.append(entry, place);
                    None
                }
            }
        })
    }
}

impl DisagreementLog for EntryLog {
    fn record(&self, id: DecisionId, generation: u64, policy: &str, told: &Disagreement) {
        let entry = ShadowEntry {
            kind: "shadow",
            time: time_text(),
            id,
            node: &self.node,
            generation,
            policy,
            disagreement: ShadowDisagreement {
                upstream: &told.upstream,
                method: BoundedText(&told.method),
                target: told.target.as_deref().map(BoundedText),
                live: BoundedText(&told.live),
                shadow: BoundedText(&told.shadow),
            },
        };
        if let Ok(entry) = serde_json::to_vec(&entry) {
            self.log.append(&entry, None);
        }
    }
}

impl DefinitionLog for EntryLog {
    fn record(&self, finding: &DefinitionFinding<'_>, others: u64) {
        let target = finding.kind.target(finding.name);
        let entry = DefinitionEntry {
            kind: "definition",
            time: time_text(),
            node: &self.node,
            upstream: finding.upstream,
            target: BoundedText(&target),
            change: finding.verdict.name(),
            approved: finding.approved.as_ref().map(digest_text),
            digest: finding.digest.as_ref().map(digest_text),
            withheld: finding.is_withheld,
            others: Some(others).filter(|others| *others > 0),
        };
        if let Ok(entry) = serde_json::to_vec(&entry) {
            self.log.append(&entry, None);
        }
    }
}

impl UnsettledEntry {
    /// Waits until the entry is durable.
    pub(super) async fn settle(self) -> Result<(), Rejection> {
        let is_durable = timeout(WRITE_DEADLINE, self.entry).await == Ok(true);
        match self.unavailable {
            AuditOverflow::Deny if !is_durable => Err(Rejection::Unrecorded),
            AuditOverflow::Deny | AuditOverflow::Count => Ok(()),
        }
    }
}

/// The entry of a decision. `docs/audit.md` describes its members.
#[derive(Serialize)]
pub(super) struct DecisionEntry<'a> {
    kind: &'static str,
    time: String,
    #[serde(serialize_with = "displayed")]
    id: DecisionId,
    outcome: &'static str,
    node: &'a str,
    upstream: &'a str,
    generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    era: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<BoundedText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<TargetNames<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    targets: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    targets_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<BoundedText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<BoundedText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proven_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<BoundedText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delegated: Option<DelegationEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued: Option<IssueEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_state: Option<LimitState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<BoundedText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<BoundedText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<IpAddr>,
    #[serde(flatten)]
    arguments: Option<&'a ArgumentFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stages: Option<StageTimes>,
    micros: u64,
}

/// The credential with which a call goes to the upstream.
#[derive(Serialize)]
struct DelegationEntry<'a> {
    credential: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<BoundedText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<BoundedText<'a>>,
}

impl<'a> DelegationEntry<'a> {
    fn of(delegation: &'a Delegation) -> Self {
        Self {
            credential: &delegation.credential,
            account: delegation.account.as_deref().map(BoundedText),
            issuer: delegation.issuer.as_deref().map(BoundedText),
        }
    }
}

/// A token that the caller has got.
#[derive(Serialize)]
struct IssueEntry<'a> {
    policy: &'a str,
    id: &'a str,
    expires_at: u64,
}

impl<'a> IssueEntry<'a> {
    fn of(IssueRecord { policy, id, expires_at }: &'a IssueRecord) -> Self {
        Self { policy, id, expires_at: *expires_at }
    }
}

/// The state of a limit that has refused a call.
#[derive(Serialize)]
struct LimitState {
    /// The bound, as in the header `RateLimit-Policy`.
    policy: String,
    retry_after: u32,
}

impl LimitState {
    fn of(hit: &LimitHit) -> Self {
        let [policy, _] = hit.fields();
        Self { policy, retry_after: hit.retry_after }
    }
}

fn displayed<S: Serializer>(id: &DecisionId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

impl<'a> DecisionEntry<'a> {
    pub(super) fn of(facts: &AuditFacts<'a>, node: &'a str) -> Self {
        Self {
            kind: "decision",
            time: time_text(),
            id: facts.decision,
            outcome: facts.outcome,
            node,
            upstream: facts.upstream,
            generation: facts.generation,
            era: facts.era.map(era_name),
            transport: facts.transport.map(transport_name),
            method: facts.method.map(BoundedText),
            target: (!facts.targets.is_empty()).then_some(TargetNames(facts.targets)),
            targets: Some(facts.targets.len()).filter(|many| *many > 1),
            targets_digest: (facts.targets.len() > NAMED).then(|| targets_digest(facts.targets)),
            subject: facts.subject.map(BoundedText),
            issuer: facts.issuer.map(BoundedText),
            proven_by: facts.proven_by,
            policy: facts.policy.or(facts.allowance.map(|by| &*by.policy)),
            rule: facts.allowance.and_then(|by| by.rule.as_deref()).map(BoundedText),
            delegated: facts.delegation.map(DelegationEntry::of),
            issued: facts.issued.map(IssueEntry::of),
            limit: facts.limit.map(|hit| &*hit.limit),
            limit_state: facts.limit.map(LimitState::of),
            fallback: facts.fallback,
            reason: facts.reason.map(BoundedText),
            detail: facts.detail.map(BoundedText),
            peer: facts.peer,
            arguments: facts.arguments,
            upstream_status: facts.upstream_status,
            upstream_error: facts.upstream_error,
            stages: facts.stages,
            micros: facts.micros,
        }
    }
}

fn era_name(era: Era) -> &'static str {
    match era {
        Era::Stateful => "stateful",
        Era::Stateless => "stateless",
    }
}

fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Http => "http",
        Transport::Stdio => "stdio",
    }
}

/// A text. If it is too long, its beginning, its length and its digest stand for it.
struct BoundedText<'a>(&'a str);

impl BoundedText<'_> {
    fn shown(&self) -> Cow<'_, str> {
        let text = self.0;
        if text.len() <= TEXT {
            return text.into();
        }
        let begin = text.get(..text.floor_char_boundary(TEXT)).unwrap_or_default();
        format!("{begin}… ({} bytes, {})", text.len(), digest_text(&sha256(text.as_bytes()))).into()
    }
}

impl Serialize for BoundedText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

/// The targets of a message, as in patterns: one text, or a list.
struct TargetNames<'a>(&'a [Target]);

impl Serialize for TargetNames<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [target] => serializer.collect_str(&named(target)),
            targets => serializer.collect_seq(targets.iter().take(NAMED).map(named)),
        }
    }
}

/// The digest of all targets, of which the entry does not name every one: that of the digests of their names, one after
/// the other.
fn targets_digest(targets: &[Target]) -> String {
    let names = targets.iter().map(|target| format!("{}{}", target.prefix(), target.name));
    let digests: Vec<u8> = names.flat_map(|name| sha256(name.as_bytes())).collect();
    digest_text(&sha256(&digests))
}

fn named(target: &Target) -> String {
    format!("{}{}", target.prefix(), BoundedText(&target.name).shown())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use witgate_plugin::TargetKind;

    use super::*;
    use crate::subject::Allowance;

    fn facts<'a>(targets: &'a [Target], subject: &'a str, arguments: &'a ArgumentFacts) -> AuditFacts<'a> {
        AuditFacts {
            outcome: "denied",
            decision: DecisionId::default(),
            upstream: "files",
            generation: 3,
            method: Some("tools/call"),
            targets,
            subject: Some(subject),
            issuer: None,
            proven_by: Some("keys"),
            policy: Some("rules"),
            allowance: None,
            delegation: None,
            issued: None,
            limit: None,
            fallback: None,
            reason: Some("not-allowed"),
            detail: None,
            era: Some(Era::Stateless),
            transport: Some(Transport::Http),
            arguments: Some(arguments),
            upstream_status: Some(200),
            upstream_error: Some("tool_error"),
            stages: None,
            peer: Some("192.0.2.1".parse().unwrap()),
            micros: 17,
        }
    }

    fn entry(targets: &[Target], subject: &str) -> Value {
        let arguments = ArgumentFacts::digest("00ff");
        let facts = facts(targets, subject, &arguments);
        let line = serde_json::to_string(&DecisionEntry::of(&facts, "one")).unwrap();
        assert!(line.starts_with(r#"{"kind":"decision","time":""#) && !line.contains('\n'), "{line}");
        serde_json::from_str(&line).unwrap()
    }

    fn target(kind: TargetKind, name: &str) -> Target {
        Target { kind, name: name.into() }
    }

    #[test]
    fn an_entry_has_every_known_fact() {
        let mut entry = entry(&[target(TargetKind::Tool, "a\nb\"c")], "alice");
        entry["time"] = Value::Null;
        assert_eq!(
            entry,
            json!({
                "kind": "decision", "time": null, "id": "0".repeat(32), "outcome": "denied", "node": "one",
                "upstream": "files", "generation": 3, "era": "stateless", "transport": "http",
                "method": "tools/call", "target": "a\nb\"c", "subject": "alice", "proven_by": "keys",
                "policy": "rules", "reason": "not-allowed", "peer": "192.0.2.1", "arguments_hmac": "00ff",
                "upstream_status": 200, "upstream_error": "tool_error", "micros": 17,
            })
        );
    }

    #[test]
    fn an_entry_names_the_policy_and_the_rule_that_allowed() {
        let arguments = ArgumentFacts::digest("00ff");
        for rule in [None, Some("role:clerk")] {
            let by = Allowance { policy: "rules".into(), rule: rule.map(Into::into) };
            let facts = AuditFacts {
                outcome: "allowed",
                policy: None,
                allowance: Some(&by),
                reason: None,
                ..facts(&[], "alice", &arguments)
            };
            let entry = serde_json::to_value(DecisionEntry::of(&facts, "one")).unwrap();
            assert_eq!(
                (entry["policy"].as_str(), entry.get("rule").and_then(Value::as_str)),
                (Some("rules"), rule)
            );
        }
    }

    #[test]
    fn an_entry_is_bounded_and_names_several_targets() {
        let targets: Vec<_> =
            (0..100).map(|number| target(TargetKind::Resource, &format!("file:///{number}"))).collect();
        let long = "ä".repeat(TEXT);
        assert_eq!(entry(&targets[..NAMED], "alice")["targets_digest"], Value::Null);
        let entry = entry(&targets, &long);
        assert_eq!(
            (entry["target"][1].as_str(), entry["targets"].as_u64()),
            (Some("resource:file:///1"), Some(100))
        );
        assert_eq!(entry["target"].as_array().unwrap().len(), NAMED);
        let names = (0..100).map(|number| sha256(format!("resource:file:///{number}").as_bytes()));
        let digest = digest_text(&sha256(&names.flatten().collect::<Vec<u8>>()));
        assert_eq!(entry["targets_digest"].as_str(), Some(digest.as_str()), "it is over all names");
        let subject = entry["subject"].as_str().unwrap();
        assert!(subject.len() < TEXT + 128 && subject.contains("(16384 bytes, sha256:"), "{subject}");
    }
}
