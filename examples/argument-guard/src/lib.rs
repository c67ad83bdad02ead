//! Arguments of tools within bounds: a path stays below its root, an amount below its limit.
//!
//! A missing argument, or one of another type, is denied, because an upstream may read it in an unforeseen way.

mod path;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Number as Written;
use witgate_plugin::json::{Json, Number, parse};
use witgate_plugin::{
    Authorize, Call, ConfigError, Data, Decision, Denial, Host, Pattern, Plugin, Principal, Wants,
};

use path::Root;

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Arguments that are paths.
    #[serde(default)]
    paths: Vec<PathRule>,
    /// Arguments that are amounts.
    #[serde(default)]
    amounts: Vec<AmountRule>,
}

/// A rule for an argument that is a path.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PathRule {
    /// Patterns of the calls with this argument.
    #[schemars(length(min = 1))]
    calls: Vec<String>,
    /// JSON Pointer to the argument.
    argument: String,
    /// The directory that it may not leave, from `/`.
    below: String,
}

/// A rule for an argument that is an amount.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AmountRule {
    /// Patterns of the calls with this argument.
    #[schemars(length(min = 1))]
    calls: Vec<String>,
    /// JSON Pointer to the argument.
    argument: String,
    /// Minimum amount.
    #[serde(default = "zero")]
    at_least: Written,
    /// Maximum amount.
    at_most: Written,
}

/// The default minimum: a negative amount would flow in the other direction.
fn zero() -> Written {
    0.into()
}

/// The plugin.
#[derive(Debug)]
pub struct ArgumentGuard {
    rules: Vec<Rule>,
}

/// One argument of some calls.
#[derive(Debug)]
struct Rule {
    calls: Vec<Pattern>,
    argument: String,
    bound: Bound,
}

/// The condition on an argument.
#[derive(Debug)]
enum Bound {
    Below(Root),
    Between(Number, Number),
}

impl Plugin for ArgumentGuard {
    const NAME: &'static str = "argument-guard";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Keeps paths below a root and amounts below a limit.";
    type Config = Settings;

    fn configure(_policy: &str, settings: Settings) -> Result<(Self, Wants), ConfigError> {
        let paths =
            settings.paths.iter().enumerate().map(|(index, rule)| rule.compile(&format!("/paths/{index}")));
        let amounts = settings
            .amounts
            .iter()
            .enumerate()
            .map(|(index, rule)| rule.compile(&format!("/amounts/{index}")));
        let rules = paths.chain(amounts).collect::<Result<Vec<_>, _>>()?;
        if rules.is_empty() {
            return Err(ConfigError::at(
                "",
                "there is nothing to guard; write a rule under `paths` or `amounts`",
            ));
        }
        let wants = Wants { data: Data { arguments: true, ..Data::default() }, ..Wants::default() };
        Ok((Self { rules }, wants))
    }
}

impl PathRule {
    fn compile(&self, place: &str) -> Result<Rule, ConfigError> {
        let root = Root::new(&self.below).map_err(|why| ConfigError::at(format!("{place}/below"), why))?;
        rule(place, &self.calls, &self.argument, Bound::Below(root))
    }
}

impl AmountRule {
    fn compile(&self, place: &str) -> Result<Rule, ConfigError> {
        let number = |name, written: &Written| {
            let out_of_range = |_| ConfigError::at(format!("{place}/{name}"), "the number is out of range");
            Number::try_from(written).map_err(out_of_range)
        };
        let (least, most) = (number("at_least", &self.at_least)?, number("at_most", &self.at_most)?);
        if least > most {
            return Err(ConfigError::at(
                format!("{place}/at_most"),
                "no amount is allowed; write more than `at_least`",
            ));
        }
        rule(place, &self.calls, &self.argument, Bound::Between(least, most))
    }
}

fn rule(place: &str, calls: &[String], argument: &str, bound: Bound) -> Result<Rule, ConfigError> {
    let pattern = |(index, text): (usize, &String)| {
        text.parse().map_err(|error| ConfigError::at(format!("{place}/calls/{index}"), format!("{error}")))
    };
    let calls: Vec<Pattern> = calls
        .iter()
        .enumerate()
        .map(|one| pattern(one) as Result<Pattern, ConfigError>)
        .collect::<Result<_, _>>()?;
    if calls.is_empty() {
        return Err(ConfigError::at(format!("{place}/calls"), "empty; write patterns of calls"));
    }
    if !argument.starts_with('/') {
        let message = "write a JSON Pointer, which begins with `/`: `/path`";
        return Err(ConfigError::at(format!("{place}/argument"), message));
    }
    Ok(Rule { calls, argument: argument.to_owned(), bound })
}

impl Authorize for ArgumentGuard {
    async fn authorize<H: Host>(&self, host: &H, call: &Call<'_>, _principal: &Principal<'_>) -> Decision {
        let mut rules = self.rules.iter().filter(|rule| rule.is_about(call)).peekable();
        if rules.peek().is_none() {
            return Decision::Abstain;
        }
        // A request for a list has no arguments: an entry is shown if some arguments would be allowed.
        if call.listing {
            return Decision::Allow;
        }
        let text = host.arguments().unwrap_or_else(|| "{}".into());
        let Ok(arguments) = parse(&text) else {
            return Decision::deny("argument-type", "the arguments cannot be read");
        };
        match rules.try_for_each(|rule| rule.judge(&arguments)) {
            Ok(()) => Decision::Allow,
            Err(denial) => Decision::Deny(denial),
        }
    }
}

impl Rule {
    fn is_about(&self, call: &Call<'_>) -> bool {
        self.calls.iter().any(|pattern| pattern.matches(call.kind, call.target))
    }

    fn judge(&self, arguments: &Json<'_>) -> Result<(), Denial> {
        let name = &self.argument;
        let missing = || denial("argument-missing", format!("the argument `{name}` is missing"));
        match (&self.bound, arguments.pointer(name).ok_or_else(missing)?) {
            (Bound::Below(root), Json::String(path)) => {
                root.holds(path).map_err(|why| denial("path-outside", format!("the argument `{name}` {why}")))
            }
            (Bound::Between(least, most), Json::Number(amount)) => match least <= amount && amount <= most {
                true => Ok(()),
                false => {
                    Err(denial("amount-outside", format!("the argument `{name}` is outside its limits")))
                }
            },
            (Bound::Below(_), _) => {
                Err(denial("argument-type", format!("the argument `{name}` is not a text")))
            }
            (Bound::Between(..), _) => {
                Err(denial("argument-type", format!("the argument `{name}` is not a number")))
            }
        }
    }
}

fn denial(reason: &str, detail: impl Into<String>) -> Denial {
    Denial { reason: reason.to_owned(), detail: Some(detail.into()), ..Denial::default() }
}

witgate_plugin::export_authorizer!(ArgumentGuard);
