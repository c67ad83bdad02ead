//! Conditions on arguments, claims and annotations, compiled.

use serde_json::Value;
use witgate_plugin::json::{self, Json, Number};
use witgate_plugin::{Call, ConfigError, Glob, Pattern, TargetKind};

use crate::facts::Facts;
use crate::patterns::pattern;
use crate::settings::{self, Annotation};

/// A compiled condition.
#[derive(Debug)]
pub(crate) struct ParsedCondition {
    on: Pattern,
    subject: ConditionSubject,
    tests: Vec<Test>,
}

/// The value that a condition tests.
#[derive(Debug)]
enum ConditionSubject {
    /// An argument, by its JSON Pointer.
    Argument(String),
    /// A claim, by its path.
    Claim(String),
    /// An annotation of the tool.
    Annotation(Annotation),
}

#[derive(Debug)]
enum Test {
    OneOf(Vec<Value>),
    Matches(Glob),
    Min(Number),
    Max(Number),
    Contains(Value),
}

/// True if all of `conditions` hold.
pub(crate) fn all_hold(conditions: &[ParsedCondition], facts: &Facts<'_, '_>) -> bool {
    conditions.iter().all(|condition| condition.holds(facts))
}

impl ParsedCondition {
    /// Compiles a condition; `place` is its path in the settings.
    pub(crate) fn compile(setting: &settings::Condition, place: &[&str]) -> Result<Self, ConfigError> {
        let at = |name: &'static str| [place, &[name]].concat();
        let on = pattern(&setting.on, &at("on"))?;
        let subject = match (&setting.argument, &setting.claim, setting.annotation) {
            (Some(argument), None, None) if is_pointer(argument) => {
                ConditionSubject::Argument(argument.clone())
            }
            (Some(_), None, None) => {
                let message = "not a JSON Pointer; write for example \"/amount\"";
                return Err(ConfigError::at_path(&at("argument"), message));
            }
            (None, Some(claim), None) if !claim.is_empty() => ConditionSubject::Claim(claim.clone()),
            (None, Some(_), None) => {
                return Err(ConfigError::at_path(&at("claim"), "empty; name a claim"));
            }
            (None, None, Some(annotation)) => {
                fits_annotation(setting, &on, place)?;
                ConditionSubject::Annotation(annotation)
            }
            _ => {
                let message = "either `argument`, `claim` or `annotation` is needed, and only one of them";
                return Err(ConfigError::at_path(place, message));
            }
        };
        let tests = tests(setting, place)?;
        Ok(Self { on, subject, tests })
    }

    /// True if the condition tests an argument.
    pub(crate) fn on_argument(&self) -> bool {
        matches!(self.subject, ConditionSubject::Argument(_))
    }

    /// True if the condition tests a claim.
    pub(crate) fn on_claim(&self) -> bool {
        matches!(self.subject, ConditionSubject::Claim(_))
    }

    /// True if the condition applies to this call.
    pub(crate) fn is_for(&self, call: &Call<'_>) -> bool {
        self.on.matches(call.kind, call.target)
    }

    /// True if the condition holds, or does not apply to this call.
    pub(crate) fn holds(&self, facts: &Facts<'_, '_>) -> bool {
        if !self.is_for(facts.call) {
            return true;
        }
        match &self.subject {
            ConditionSubject::Argument(_) if facts.call.listing => true,
            ConditionSubject::Argument(pointer) => facts
                .arguments()
                .and_then(|all| json::pointed(all, pointer).ok().flatten())
                .is_some_and(|text| self.fits_text(text)),
            ConditionSubject::Claim(path) => {
                facts.claims().and_then(|all| all.get(path)).is_some_and(|value| self.fits(value))
            }
            // The same for a call and for an entry of a list.
            ConditionSubject::Annotation(annotation) => {
                facts.annotations().is_some_and(|all| self.fits(&Json::Bool(annotation.of(&all))))
            }
        }
    }

    fn fits(&self, value: &Json<'_>) -> bool {
        self.tests.iter().all(|test| test.passes(value))
    }

    /// The same for the text of a value. The value comes from the caller, and may be as large as a message. As
    /// [`Json`], a list or an object would take many times the memory of its text.
    fn fits_text(&self, text: &str) -> bool {
        match text.len() <= LONGEST || text.starts_with('"') {
            true => json::parse(text).is_ok_and(|value| self.fits(&value)),
            false => self.tests.iter().all(|test| test.passes_long(text)),
        }
    }
}

/// The longest text, in bytes, of a list or an object that is compared as a whole. A longer one is different from every
/// value in the settings.
const LONGEST: usize = 64 << 10;

fn tests(setting: &settings::Condition, place: &[&str]) -> Result<Vec<Test>, ConfigError> {
    let at = |name: &'static str| [place, &[name]].concat();
    if setting.one_of.as_ref().is_some_and(Vec::is_empty) {
        return Err(ConfigError::at_path(
            &at("one_of"),
            "empty, so no value would match; write at least one value",
        ));
    }
    let number = |name: &'static str, number: &Option<serde_json::Number>| match number {
        None => Ok(None),
        Some(number) => Number::try_from(number)
            .map(Some)
            .map_err(|_| ConfigError::at_path(&at(name), "the number is too large")),
    };
    let tests: Vec<Test> = [
        setting.equals.clone().map(|value| Test::OneOf(vec![value])),
        setting.one_of.clone().map(Test::OneOf),
        setting.matches.as_deref().map(|text| Test::Matches(Glob::new(text))),
        number("min", &setting.min)?.map(Test::Min),
        number("max", &setting.max)?.map(Test::Max),
        setting.contains.clone().map(Test::Contains),
    ]
    .into_iter()
    .flatten()
    .collect();
    match tests.is_empty() {
        false => Ok(tests),
        true => {
            let message = "the condition tests nothing; write `equals`, `one_of`, `matches`, `min`, `max` or `contains`";
            Err(ConfigError::at_path(place, message))
        }
    }
}

/// Checks that a condition on an annotation can hold: that it is about tools, and tests for true or false.
fn fits_annotation(setting: &settings::Condition, on: &Pattern, place: &[&str]) -> Result<(), ConfigError> {
    if !on.is_for(TargetKind::Tool) {
        let message = "only tools have annotations; write a pattern of tools, which has no prefix";
        return Err(ConfigError::at_path(&[place, &["on"]].concat(), message));
    }
    let settings::Condition { one_of, matches, min, max, contains, .. } = setting;
    let has_others =
        one_of.is_some() || matches.is_some() || min.is_some() || max.is_some() || contains.is_some();
    match &setting.equals {
        Some(Value::Bool(_)) if !has_others => Ok(()),
        _ => {
            let message = "an annotation is true or false; write `equals = true` or `equals = false`, and no other test";
            Err(ConfigError::at_path(place, message))
        }
    }
}

fn is_pointer(text: &str) -> bool {
    let escaped = |token: &str| token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.is_empty() || (text.starts_with('/') && text.split('/').all(escaped))
}

impl Test {
    fn passes(&self, value: &Json<'_>) -> bool {
        match (self, value) {
            (Self::OneOf(values), value) => values.iter().any(|own| value == own),
            (Self::Matches(glob), Json::String(text)) => glob.matches(text),
            (Self::Min(bound), Json::Number(number)) => number >= bound,
            (Self::Max(bound), Json::Number(number)) => number <= bound,
            (Self::Contains(own), Json::Array(items)) => items.iter().any(|item| item == own),
            (Self::Matches(_) | Self::Min(_) | Self::Max(_) | Self::Contains(_), _) => false,
        }
    }

    /// Tests a text that is longer than [`LONGEST`] and is not a string.
    fn passes_long(&self, text: &str) -> bool {
        match self {
            Self::Contains(own) => {
                let is_own = |item: &str| {
                    (item.len() <= LONGEST || item.starts_with('"'))
                        && json::parse(item).is_ok_and(|item| item == *own)
                };
                json::any_item(text, is_own).unwrap_or(false)
            }
            Self::OneOf(_) | Self::Matches(_) | Self::Min(_) | Self::Max(_) => false,
        }
    }
}
