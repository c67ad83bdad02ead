//! Single edits of a question, and those with which the same policies allow the call.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use witgate_flow::explanation::Explanation;
use witgate_plugin::Identity;
use witgate_rbac::settings::Condition;

use super::scene::ExplanationScene;
use crate::access::condition_values::{escaped, passing, placed};
use crate::access::known_principals::{keys, known_roles};
use crate::access::question::{CallQuestion, QuestionSender};
use crate::access::written_rules::WrittenRules;
use crate::cli::outcome::CommandFailure;

/// The most edits that are tried: some hundred milliseconds of hooks.
const MOST_TRIED: usize = 400;

/// The most edits that are shown.
const MOST_SHOWN: usize = 6;

/// The most roles that are tried.
const MOST_ROLES: usize = 128;

/// An hour, in seconds.
const HOUR: u64 = 3600;

/// One change of a call or of its caller.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    /// The kind of change: `argument`, `scope`, `time`, `claim` or `role`.
    pub(super) kind: &'static str,
    /// A sentence without a subject, such as "the role `admin`".
    pub(super) text: String,
    /// The new value.
    pub(super) value: Value,
    question: CallQuestion,
}

/// The edits with which the call is allowed, the smallest ones first. Each is evaluated by the function that decides.
pub(super) async fn nearest(
    scene: &ExplanationScene,
    question: &CallQuestion,
    explanation: &Explanation,
) -> Result<Vec<Edit>, CommandFailure> {
    let mut found = Vec::new();
    for edit in candidates(scene, question, explanation).into_iter().take(MOST_TRIED) {
        if scene.explain(&edit.question).await?.is_allowed() {
            found.push(edit);
        }
        if found.len() >= MOST_SHOWN {
            break;
        }
    }
    Ok(found)
}

/// The roles and scopes without which an allowed call would be refused.
pub(super) async fn needed(
    scene: &ExplanationScene,
    question: &CallQuestion,
    explanation: &Explanation,
) -> Result<Vec<Edit>, CommandFailure> {
    let Some(base) = AssumedQuestion::of(question, explanation) else { return Ok(Vec::new()) };
    let mut needed = Vec::new();
    for edit in base.without_roles().chain(base.without_scopes()).take(MOST_TRIED) {
        if !scene.explain(&edit.question).await?.is_allowed() {
            needed.push(edit);
        }
    }
    Ok(needed)
}

fn candidates(scene: &ExplanationScene, question: &CallQuestion, explanation: &Explanation) -> Vec<Edit> {
    let Some(base) = AssumedQuestion::of(question, explanation) else {
        return other_times_of_credential(scene, question);
    };
    let conditions = conditions(scene, explanation);
    let mut edits = base.with_arguments(&conditions);
    edits.extend(base.with_scopes(scene, explanation));
    edits.extend(base.at_other_times(explanation));
    edits.extend(base.with_claims(&conditions));
    edits.extend(base.with_roles(scene));
    edits.extend(base.without_roles());
    edits.extend(base.without_arguments());
    edits
}

/// The conditions of `rbac` policies on the call.
fn conditions(scene: &ExplanationScene, explanation: &Explanation) -> Vec<Condition> {
    let rules: Vec<_> = scene.config.policies.values().filter_map(WrittenRules::of).collect();
    let targets = || explanation.targets.iter();
    let found = rules.iter().flat_map(|rules| targets().flat_map(|target| rules.conditions_on(target)));
    found.cloned().collect()
}

/// The times at which a refused credential may be valid.
fn other_times_of_credential(scene: &ExplanationScene, question: &CallQuestion) -> Vec<Edit> {
    let times: Vec<u64> = match &question.sender {
        QuestionSender::Key { digest, .. } => {
            let keys = keys(scene.view(), question.upstream);
            let key = keys.into_iter().map(|(_, key)| key).find(|key| key.sha256.0 == *digest);
            key.and_then(|key| key.expires).map(|end| end.0.saturating_sub(1)).into_iter().collect()
        }
        QuestionSender::Token { .. } => {
            let claims = question.sender.secret().and_then(claims_in).unwrap_or_default();
            let time = |name: &str| claims.get(name).and_then(Value::as_u64);
            [time("exp").map(|end| end.saturating_sub(1)), time("nbf"), time("iat")]
                .into_iter()
                .flatten()
                .collect()
        }
        QuestionSender::Nobody | QuestionSender::Assumed { .. } => Vec::new(),
    };
    times.into_iter().map(|at| at_time(question, at)).collect()
}

/// The claims of a token, unverified.
fn claims_in(token: &str) -> Option<Map<String, Value>> {
    use base64::Engine as _;
    let payload = token.split('.').nth(1)?;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&payload).ok()
}

fn at_time(question: &CallQuestion, at: u64) -> Edit {
    let time = crate::cli::control::time(at);
    Edit {
        kind: "time",
        text: format!("the time {time}"),
        value: time.into(),
        question: CallQuestion { at, ..question.clone() },
    }
}

/// The question with a caller who is known already, so that their properties can change.
struct AssumedQuestion {
    question: CallQuestion,
    identity: Identity,
}

impl AssumedQuestion {
    /// None: the caller is not known, or has no credential.
    fn of(question: &CallQuestion, explanation: &Explanation) -> Option<Self> {
        let caller = explanation.caller.as_ref().filter(|caller| !caller.is_anonymous())?;
        let identity = caller.identity().clone();
        let proven_by = caller.proven_by().clone();
        let sender = QuestionSender::Assumed { identity: identity.clone(), proven_by };
        Some(Self { question: CallQuestion { sender, ..question.clone() }, identity })
    }

    /// The same question from a caller with another identity.
    fn by(&self, identity: Identity) -> CallQuestion {
        let mut question = self.question.clone();
        if let QuestionSender::Assumed { identity: own, .. } = &mut question.sender {
            *own = identity;
        }
        question
    }

    fn with_arguments(&self, conditions: &[Condition]) -> Vec<Edit> {
        let on_arguments =
            conditions.iter().filter_map(|condition| Some((condition.argument.as_deref()?, condition)));
        let edits = on_arguments.flat_map(|(pointer, condition)| {
            passing(condition).into_iter().filter_map(move |value| {
                let arguments = self.question.arguments.clone().unwrap_or_else(|| json!({}));
                let arguments = placed(arguments, pointer, value.clone())?;
                let question = CallQuestion { arguments: Some(arguments), ..self.question.clone() };
                let text = format!("the argument `{pointer}` = {value}");
                Some(Edit {
                    kind: "argument",
                    text,
                    value: json!({ "pointer": pointer, "value": value }),
                    question,
                })
            })
        });
        edits.collect()
    }

    fn without_arguments(&self) -> Vec<Edit> {
        let Some(Value::Object(arguments)) = &self.question.arguments else { return Vec::new() };
        let without = |name: &String| {
            let mut rest = arguments.clone();
            rest.remove(name);
            let question = CallQuestion { arguments: Some(rest.into()), ..self.question.clone() };
            let value = json!({ "pointer": format!("/{}", escaped(name)), "value": null });
            Edit { kind: "argument", text: format!("no argument `{name}`"), value, question }
        };
        arguments.keys().map(without).collect()
    }

    /// All missing scopes at once, and single scopes that policies use.
    fn with_scopes(&self, scene: &ExplanationScene, explanation: &Explanation) -> Vec<Edit> {
        let missing = |scopes: &mut dyn Iterator<Item = &String>| {
            scopes
                .filter(|scope| !self.identity.scopes.contains(scope))
                .cloned()
                .collect::<BTreeSet<String>>()
        };
        let named = explanation.cause.as_ref().map(|cause| cause.scopes.as_slice()).unwrap_or_default();
        let together = missing(&mut named.iter());
        let used = missing(&mut scene.generation.policies().flat_map(|policy| policy.scopes()));
        let single = used.into_iter().map(|scope| BTreeSet::from([scope]));
        let edit = |scopes: BTreeSet<String>| {
            let mut identity = self.identity.clone();
            identity.scopes.extend(scopes.iter().cloned());
            let names: Vec<_> = scopes.iter().map(|scope| format!("`{scope}`")).collect();
            let noun = if names.len() == 1 { "scope" } else { "scopes" };
            let text = format!("the {noun} {}", names.join(", "));
            Edit { kind: "scope", text, value: json!(scopes), question: self.by(identity) }
        };
        let sets = Some(together).filter(|scopes| !scopes.is_empty()).into_iter().chain(single);
        let sets: BTreeSet<_> = sets.collect();
        sets.into_iter().map(edit).collect()
    }

    /// If a policy has read the clock: each hour of a day, and each day of a week.
    fn at_other_times(&self, explanation: &Explanation) -> Vec<Edit> {
        let hooks = explanation.stages.last().map(|stage| stage.hooks.as_slice()).unwrap_or_default();
        if !hooks.iter().any(|asked| asked.observed.host_calls.contains_key("clock.now")) {
            return Vec::new();
        }
        let now = self.question.at;
        let hours = (1..24).map(|hours| now / HOUR * HOUR + hours * HOUR);
        let days = (1..7).map(|days| now + days * 24 * HOUR);
        hours.chain(days).map(|at| at_time(&self.question, at)).collect()
    }

    fn with_claims(&self, conditions: &[Condition]) -> Vec<Edit> {
        let claims = self.identity.claims.as_deref().and_then(|claims| serde_json::from_str(claims).ok());
        let claims: Value = claims.unwrap_or_else(|| json!({}));
        let on_claims =
            conditions.iter().filter_map(|condition| Some((condition.claim.as_deref()?, condition)));
        let edits = on_claims.flat_map(|(path, condition)| {
            let pointer: String = path.split('.').map(|step| format!("/{}", escaped(step))).collect();
            let claims = claims.clone();
            passing(condition).into_iter().filter_map(move |value| {
                let claims = placed(claims.clone(), &pointer, value.clone())?;
                let identity = Identity { claims: Some(claims.to_string()), ..self.identity.clone() };
                let text = format!("the claim `{path}` = {value}");
                let value = json!({ "claim": path, "value": value });
                Some(Edit { kind: "claim", text, value, question: self.by(identity) })
            })
        });
        edits.collect()
    }

    fn with_roles(&self, scene: &ExplanationScene) -> Vec<Edit> {
        let mut roles = known_roles(scene.view(), self.question.upstream);
        roles.retain(|role| !self.identity.roles.contains(role));
        let edit = |role: String| {
            let mut identity = self.identity.clone();
            identity.roles.push(role.clone());
            Edit {
                kind: "role",
                text: format!("the role `{role}`"),
                value: role.into(),
                question: self.by(identity),
            }
        };
        roles.into_iter().take(MOST_ROLES).map(edit).collect()
    }

    fn without_roles(&self) -> impl Iterator<Item = Edit> {
        self.identity.roles.iter().map(|role| {
            let mut identity = self.identity.clone();
            identity.roles.retain(|other| other != role);
            let text = format!("no role `{role}`");
            Edit { kind: "role", text, value: json!({ "without": role }), question: self.by(identity) }
        })
    }

    fn without_scopes(&self) -> impl Iterator<Item = Edit> {
        self.identity.scopes.iter().map(|scope| {
            let mut identity = self.identity.clone();
            identity.scopes.retain(|other| other != scope);
            let text = format!("no scope `{scope}`");
            Edit { kind: "scope", text, value: json!({ "without": scope }), question: self.by(identity) }
        })
    }
}
