//! `witgate suggest`: the least policy with which everything that the audit log has as allowed is still allowed.

mod case_file;
mod least_policy;
mod toml_text;

use serde_json::json;

use self::least_policy::LeastPolicy;
use super::call_history::{CallHistory, HistoryOptions};
use super::context::Context;
use super::outcome::{CommandFailure, Exit};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    history: HistoryOptions,
    /// Upstream; default: all
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Form of the answer: policies of the kind `rbac` for the configuration, or a file of cases about one upstream
    #[arg(long, value_enum, default_value = "rbac")]
    form: SuggestionForm,
}

/// The form of a suggestion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum SuggestionForm {
    Rbac,
    Cases,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let history = CallHistory::read(context, &arguments.history)?;
    let policies = LeastPolicy::of(&history, arguments.upstream.as_deref());
    let mut notes = history.notes.clone();
    notes.extend(policies.iter().flat_map(|policy| policy.notes.iter().cloned()));
    let text = match arguments.form {
        SuggestionForm::Rbac => toml_text::rbac(&policies, &history.since),
        SuggestionForm::Cases => match policies.as_slice() {
            [] => String::new(),
            [only] => {
                let (text, left_out) = case_file::cases(only, &history.since);
                if left_out > 0 {
                    notes.push(format!("{left_out} cases do not fit into one file"));
                }
                text
            }
            several => {
                let names: Vec<_> = several.iter().map(|policy| policy.upstream.as_str()).collect();
                let names = names.join(", ");
                let message =
                    format!("cases are about one upstream; name one with `--upstream NAME`: {names}");
                return Err(CommandFailure::new(message));
            }
        },
    };
    notes.iter().for_each(|note| context.terminal.say(note));
    match context.terminal.is_json() {
        true => {
            let policies: Vec<_> = policies.iter().map(LeastPolicy::to_json).collect();
            context.terminal.print_json(&json!({
                "version": 1, "since": history.since, "policies": policies, "text": text, "notes": notes,
            }));
        }
        false if policies.is_empty() => context.terminal.say("no call was allowed in this time"),
        false => context.terminal.print(&text),
    }
    Ok(if policies.is_empty() { Exit::No } else { Exit::Done })
}
