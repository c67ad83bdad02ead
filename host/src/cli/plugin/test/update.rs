//! `--update`: replaces the expectations of failing cases with the actual answers. Everything else in the file stays
//! as it is.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use toml_edit::{Decor, DocumentMut, InlineTable, Item, RawString, Table, TableLike, Value};

use super::play::{PlayResult, PlayedCase};
use crate::cli::context::Context;
use crate::cli::outcome::CommandFailure;
use crate::cli::terminal::counted;
use witgate_base::printable::clean;
use witgate_base::whole_file;
use witgate_cases::OutcomeText as _;
use witgate_cases::{Expect, StepReport};

/// An expectation and its replacement.
struct ExpectationChange<'a> {
    case: &'a PlayedCase,
    step: &'a StepReport,
    becomes: Json,
}

/// Rewrites the files, if the user agrees. False: there is nothing to rewrite, or the user declined.
pub(super) fn rewrite(context: &Context, played: &PlayResult, yes: bool) -> Result<bool, CommandFailure> {
    let mut by_file: BTreeMap<&PathBuf, Vec<ExpectationChange<'_>>> = BTreeMap::new();
    for case in &played.cases {
        let changes = changes(case);
        if !changes.is_empty() {
            by_file.entry(&case.file).or_default().extend(changes);
        }
    }
    let mut rewritten = false;
    for (file, changes) in by_file {
        if yes || agreed(context, file, &changes)? {
            write(file, &changes)?;
            context.terminal.say(&format!(
                "{}: {} rewritten",
                file.display(),
                counted(changes.len(), "expectation")
            ));
            rewritten = true;
        }
    }
    Ok(rewritten)
}

/// The changes for a case: answers that differ from its expectations. Other failures of the case cannot become
/// expectations.
fn changes(case: &PlayedCase) -> Vec<ExpectationChange<'_>> {
    let steps = case.report.steps.iter().zip(&case.case.steps);
    let other = steps
        .filter(|(_, step)| !step.place.is_empty())
        .filter(|(report, step)| !step.expect.is(&report.asked.outcome));
    other
        .map(|(report, step)| ExpectationChange {
            case,
            step: report,
            becomes: becomes(&step.expect, report),
        })
        .collect()
}

/// The new expectation: the answer itself; for an identity, only the members that were expected before.
fn becomes(expected: &Expect, report: &StepReport) -> Json {
    let mut found = report.asked.outcome.written();
    let before = expected.written();
    if let (Some(found), Some(before)) = (
        found.get_mut("identity").and_then(Json::as_object_mut),
        before.get("identity").and_then(Json::as_object),
    ) && !before.is_empty()
    {
        found.retain(|name, _| before.contains_key(name));
        if let (Some(Json::Object(found)), Some(Json::Object(before))) =
            (found.get_mut("claims"), before.get("claims"))
        {
            found.retain(|name, _| before.contains_key(name));
        }
    }
    found
}

fn agreed(context: &Context, file: &Path, changes: &[ExpectationChange<'_>]) -> Result<bool, CommandFailure> {
    if !io::stdin().is_terminal() || context.terminal.is_json() {
        return Err(CommandFailure::new(
            "`--update` asks before it writes, and nobody is there to answer; add `--yes` to write without asking",
        ));
    }
    for ExpectationChange { case, step, .. } in changes {
        let line = format!("{}:{}  {}", file.display(), case.report.line, case.report.name);
        context.terminal.say(&format!("{line}\n  becomes  {}", clean(&step.asked.outcome.to_line())));
    }
    let mut err = io::stderr().lock();
    let question = format!("Rewrite {} in {}? [y/N] ", counted(changes.len(), "expectation"), file.display());
    let asked = write!(err, "{question}").and_then(|()| err.flush());
    let mut answer = String::new();
    asked
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|error| CommandFailure::new(error.to_string()))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn write(file: &Path, changes: &[ExpectationChange<'_>]) -> Result<(), CommandFailure> {
    let failed = |why: String| CommandFailure::new(format!("{} cannot be rewritten: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| failed(error.to_string()))?;
    for change in changes {
        set(document.as_table_mut(), &change.step.place, &change.becomes).ok_or_else(|| {
            failed(format!("the case `{}` is not where it was; run again", change.case.report.name))
        })?;
    }
    replace(file, &document.to_string()).map_err(|error| failed(error.to_string()))
}

/// Replaces a file atomically, so that nobody sees half of it.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = file.canonicalize()?;
    let access = fs::metadata(&file)?.permissions();
    whole_file::replace(&file, |new| {
        new.write_all(text.as_bytes())?;
        new.set_permissions(access)
    })
}

/// Sets `expect` of a question: in a case, or in a step of a case.
fn set(root: &mut Table, place: &[String], becomes: &Json) -> Option<()> {
    let index = |at: usize| place.get(at)?.parse::<usize>().ok();
    let case = root.get_mut("case")?;
    let case: &mut dyn TableLike = match case {
        Item::ArrayOfTables(cases) => cases.get_mut(index(1)?)?,
        other => other.as_array_mut()?.get_mut(index(1)?)?.as_inline_table_mut()?,
    };
    if place.len() == 2 {
        return expect(case, becomes);
    }
    match case.get_mut("steps")? {
        Item::ArrayOfTables(steps) => expect(steps.get_mut(index(3)?)?, becomes),
        other => {
            let step = other.as_array_mut()?.get_mut(index(3)?)?.as_inline_table_mut()?;
            let end = (!step.contains_key("expect")).then(|| closing(step)).flatten();
            expect(step, becomes)?;
            if let (Some(end), Some(value)) = (end, step.get_mut("expect")) {
                at_leaf(value, |decor| decor.set_suffix(end));
            }
            Some(())
        }
    }
}

/// Removes the whitespace before the closing brace of a table from its last member, and returns it.
fn closing(table: &mut InlineTable) -> Option<RawString> {
    let (_, last) = table.iter_mut().last()?;
    at_leaf(last, |decor| {
        let end = decor.suffix().cloned();
        decor.set_suffix("");
        end
    })
}

/// Calls `act` with the decoration of the value at the end of a dotted key: that value has the blanks and the comment
/// around it.
fn at_leaf<T>(value: &mut Value, act: impl FnOnce(&mut Decor) -> T) -> T {
    let dotted = value.as_inline_table_mut().filter(|table| table.is_dotted());
    match dotted.and_then(|table| table.iter_mut().last()) {
        Some((_, inner)) => act(inner.decor_mut()),
        None => act(value.decor_mut()),
    }
}

/// Sets `expect` of a question: a word as a string, everything else as a dotted key, such as `expect.denied = "late"`.
/// The comment behind it stays.
fn expect(question: &mut dyn TableLike, becomes: &Json) -> Option<()> {
    let mut value = value(becomes)?;
    if let Value::InlineTable(table) = &mut value {
        table.set_dotted(true);
    }
    let Some(item) = question.get_mut("expect") else {
        question.insert("expect", Item::Value(value));
        return Some(());
    };
    let suffix = suffix(item);
    at_leaf(&mut value, |decor| {
        decor.set_prefix(" ");
        if let Some(suffix) = suffix {
            decor.set_suffix(suffix);
        }
    });
    *item = Item::Value(value);
    Some(())
}

/// The whitespace and comment behind a value.
fn suffix(item: &mut Item) -> Option<RawString> {
    match item {
        Item::Value(value) => at_leaf(value, |decor| decor.suffix().cloned()),
        Item::Table(table) if table.is_dotted() => table.iter_mut().last().and_then(|(_, last)| suffix(last)),
        _ => None,
    }
}

/// A value in TOML. TOML has no null: such a member is left out.
fn value(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => return None,
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::from(number),
            None => Value::from(number.as_f64()?),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::Array(items.iter().filter_map(value).collect()),
        Json::Object(members) => {
            let members = members.iter().filter_map(|(name, member)| Some((name.as_str(), value(member)?)));
            Value::InlineTable(members.collect::<InlineTable>())
        }
    })
}
