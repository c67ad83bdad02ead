//! The run of a component: its settings first, then each question.

use witgate_plugin::{Decision, Scheme, Verdict};

use super::arguments::Arguments;
use crate::cli::context::Context;
use crate::cli::outcome::CommandFailure;
use crate::cli::plugin::plugin_argument::PluginUnderTest;
use crate::cli::plugin::test::loader;
use witgate_base::provenance::Provenance;
use witgate_cases::{CaseCall, HookQuestion, Principal, Question, QuestionReport, SandboxPolicy};
use witgate_policy::answer::Outcome;
use witgate_services::witness::Observation;

/// The result of a run.
pub(super) struct RunResult {
    pub(super) settings: ConfigureResult,
    /// The questions with their results. Empty: the plugin refused the settings.
    pub(super) asked: Vec<(Question, QuestionReport)>,
    /// Secrets to redact from the output.
    pub(super) secrets: Vec<String>,
}

/// The result of `configure`.
pub(super) enum ConfigureResult {
    /// The plugin accepted them: its wishes, and the trace of its host calls.
    Yes(Box<witgate_plugin::Wants>, Observation),
    /// The plugin refused them; the text gives the reason.
    No(String),
}

impl RunResult {
    /// True if the last answer lets the call through.
    pub(super) fn is_yes(&self) -> bool {
        let yes = |outcome: &Outcome| {
            matches!(outcome, Outcome::Verdict(Verdict::Identity(_)) | Outcome::Decision(Decision::Allow))
        };
        self.asked.last().is_some_and(|(_, asked)| yes(&asked.outcome))
    }
}

pub(super) async fn ran(
    context: &Context,
    arguments: &Arguments,
    cast: &PluginUnderTest,
    credential: Option<String>,
) -> Result<RunResult, CommandFailure> {
    let loader = loader(context)?;
    // A file that is no component is a failure of the command, and no answer of a plugin.
    let loaded = loader.load(&cast.path, &Provenance::default()).await;
    loaded.map_err(|error| CommandFailure::new(error.to_string()))?;
    let mut ran = RunResult {
        settings: ConfigureResult::No(String::new()),
        asked: Vec::new(),
        secrets: cast.case.held.secrets.values().cloned().chain(credential.clone()).collect(),
    };
    let policy = match cast.subject.on_stage(&loader, &cast.dir, &cast.case).await {
        Ok(policy) => policy,
        Err(unmade) => {
            ran.settings = ConfigureResult::No(unmade.to_string());
            return Ok(ran);
        }
    };
    let wants = policy.policy().wants().cloned().unwrap_or_default();
    ran.settings = ConfigureResult::Yes(Box::new(wants), policy.seen());
    for question in questions(arguments, cast, &policy, credential)? {
        if let HookQuestion::Who { value, .. } = &question.ask {
            // The secret part of a token is its signature.
            ran.secrets.extend([value.clone(), value.rsplit('.').next().unwrap_or_default().to_owned()]);
        }
        let asked = policy.ask(&question).await;
        ran.asked.push((question, asked));
    }
    Ok(ran)
}

/// The questions of the case, or else one of its own. The command line replaces parts of each.
fn questions(
    arguments: &Arguments,
    cast: &PluginUnderTest,
    policy: &SandboxPolicy,
    credential: Option<String>,
) -> Result<Vec<Question>, CommandFailure> {
    let scheme = arguments.scheme.or_else(|| policy.first_scheme()).unwrap_or(Scheme::Bearer);
    let shown = credential.map(|value| HookQuestion::Who { scheme, value });
    let own = arguments.principal.clone().map(HookQuestion::May).or(shown);
    let mut questions: Vec<_> = cast.case.steps.iter().map(|step| step.question.clone()).collect();
    if questions.is_empty() {
        let ask = match own.clone() {
            Some(ask) => ask,
            None if policy.policy().authorizes() => HookQuestion::May(Principal::default()),
            None => {
                return Err(CommandFailure::new(
                    "it is an authenticator, and there is no credential; name one by `--credential-env NAME` or \
                     `--credential-file FILE`, or a case by `--case NAME`",
                ));
            }
        };
        questions.push(Question { now: cast.case.now, ..Question::new(CaseCall::named("echo"), ask) });
    }
    for question in &mut questions {
        arguments.put_over(question);
        if let Some(ask) = &own {
            question.ask = ask.clone();
        }
    }
    Ok(questions)
}
