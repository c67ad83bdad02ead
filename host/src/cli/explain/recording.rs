//! Questions out of recordings and other files of cases. A case is about one policy; the whole pipeline decides about its
//! caller and its call.

use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::Value;
use witgate_cases::{HookQuestion, Step, Suite};
use witgate_plugin::Scheme;

use super::arguments::Arguments;
use super::scene::ExplanationScene;
use super::sender::FoundSender;
use crate::access::question::{CallQuestion, QuestionSender};
use crate::cli::outcome::CommandFailure;
use witgate_base::digest::sha256;

/// The question of a case: the only one in the file, or the one that the arguments name. Options of the command precede
/// it.
pub(super) fn asked(
    scene: &ExplanationScene,
    file: &Path,
    arguments: &Arguments,
) -> Result<(CallQuestion, Vec<String>), CommandFailure> {
    let suite = Suite::read(file).map_err(|error| CommandFailure::new(error.to_string()))?;
    let (policy, step) = chosen(&suite, arguments.case.as_deref())?;
    let recorded = &step.question;
    let upstream = match (&arguments.upstream, scene.upstream(Some(&recorded.upstream))) {
        (None, Ok(place)) => place,
        // A recording has the name at the upstream.
        (upstream, _) => scene.upstream(upstream.as_deref())?,
    };
    let FoundSender { sender, mut notes } = sender(scene, policy, step)?;
    notes.insert(0, format!("the question is from {}, and the whole pipeline decides", file.display()));
    let text = arguments.arguments.as_deref().or(recorded.call.arguments.as_deref());
    let call_arguments = text.map(serde_json::from_str::<Value>).transpose();
    let call_arguments = call_arguments
        .map_err(|error| CommandFailure::new(format!("the arguments are not JSON: {error}")))?;
    let mut headers = recorded.headers.clone();
    headers.extend(arguments.header.iter().cloned());
    let question = CallQuestion {
        upstream,
        call: recorded.call.clone(),
        arguments: call_arguments,
        headers,
        peer: arguments.peer.or(recorded.peer),
        sender,
        at: arguments.at.unwrap_or(recorded.now),
    };
    Ok((question, notes))
}

/// The first question of a case, with its policy.
fn chosen<'s>(suite: &'s Suite, name: Option<&str>) -> Result<(&'s str, &'s Step), CommandFailure> {
    let names = || suite.cases.iter().map(|case| format!("\n  {}", case.name)).collect::<String>();
    let case = match (name, suite.cases.as_slice()) {
        (Some(name), cases) => cases.iter().find(|case| case.name == name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let case = case.ok_or_else(|| {
        CommandFailure::new(format!("name one of the cases in the file with `--case NAME`:{}", names()))
    })?;
    let step = case.steps.first().ok_or_else(|| CommandFailure::new("the case asks no question"))?;
    Ok((&case.policy, step))
}

/// The sender in a question. A recording has a text in place of the credential, and the digest of the credential.
fn sender(scene: &ExplanationScene, policy: &str, step: &Step) -> Result<FoundSender, CommandFailure> {
    let recorded = &step.question;
    let (scheme, value) = match &recorded.ask {
        HookQuestion::May(principal) => {
            let (identity, proven_by) = (principal.identity(), Arc::from(principal.proven_by.as_str()));
            let note = format!("`{}` is assumed to be known by the policy `{proven_by}`", identity.subject);
            return Ok(FoundSender {
                sender: QuestionSender::Assumed { identity, proven_by },
                notes: vec![note],
            });
        }
        HookQuestion::Who { scheme, value } => (*scheme, value),
    };
    let text = SecretString::from(value.as_str());
    let header = match scheme {
        Scheme::Bearer => None,
        Scheme::Header => {
            let live = scene.generation.policy(policy);
            live.and_then(|policy| policy.credential_headers().first().cloned())
        }
        Scheme::Basic | Scheme::Dpop | Scheme::Certificate | Scheme::Argument => {
            let message = "the case has a credential of a scheme that an explanation cannot show";
            return Err(CommandFailure::new(message));
        }
    };
    let is_trusted = !recorded.verify.is_empty() && recorded.verify.iter().all(|check| check.outcome.is_ok());
    let mut notes = Vec::new();
    if is_trusted {
        notes.push("the signature of the token is assumed to be good, as it was recorded".to_owned());
    }
    let sender = match (recorded.digest, scheme) {
        (None, Scheme::Bearer) => QuestionSender::Token { text, is_trusted },
        (digest, _) => {
            let digest = digest.unwrap_or_else(|| sha256(value.as_bytes()));
            QuestionSender::Key { policy: policy.to_owned(), header, text, digest }
        }
    };
    Ok(FoundSender { sender, notes })
}
