//! Calls whose name or arguments match a suspicious pattern are denied.
//!
//! Patterns are matched against decoded texts: `"\u003cscript"` is the same text as `"<script"`.

mod texts;

use regex::{RegexSet, RegexSetBuilder};
use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{Authorize, Call, ConfigError, Data, Decision, Host, Plugin, Principal, Wants};

use texts::Texts;

/// The most patterns. All are compiled in every instance.
const MOST_PATTERNS: usize = 64;

/// The most memory in bytes for the compiled patterns, and again for the states that a search keeps.
const MEMORY: usize = 1 << 20;

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Regular expressions, matched without regard to case.
    #[serde(default = "usual")]
    #[schemars(length(min = 1, max = 64))]
    patterns: Vec<String>,
}

fn usual() -> Vec<String> {
    [r"\.\./", "<script", "union.*select", r"eval\("].map(str::to_owned).into()
}

/// The plugin.
#[derive(Debug)]
pub struct RequestScreen {
    patterns: RegexSet,
}

impl Plugin for RequestScreen {
    const NAME: &'static str = "request-screen";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Denies calls whose texts match a suspicious pattern.";
    type Config = Settings;

    fn configure(_policy: &str, settings: Settings) -> Result<(Self, Wants), ConfigError> {
        let patterns = settings.patterns;
        if patterns.is_empty() || patterns.len() > MOST_PATTERNS {
            return Err(ConfigError::at("/patterns", "write 1 to 64 patterns"));
        }
        let compiled = RegexSetBuilder::new(&patterns)
            .case_insensitive(true)
            .dot_matches_new_line(true)
            .size_limit(MEMORY)
            .dfa_size_limit(MEMORY)
            .build();
        let patterns = compiled.map_err(|error| ConfigError::at("/patterns", error.to_string()))?;
        let wants = Wants { data: Data { arguments: true, ..Data::default() }, ..Wants::default() };
        Ok((Self { patterns }, wants))
    }
}

impl RequestScreen {
    /// The first pattern that matches a text.
    fn pattern_of(&self, text: &str) -> Option<usize> {
        self.patterns.matches(text).iter().next()
    }
}

impl Authorize for RequestScreen {
    /// Abstains from calls that match nothing: another authorizer has to allow them.
    async fn authorize<H: Host>(&self, host: &H, call: &Call<'_>, _principal: &Principal<'_>) -> Decision {
        let screened = |place: usize| Decision::deny("screened", format!("pattern {place} matches"));
        if let Some(place) = self.pattern_of(call.target) {
            return screened(place);
        }
        let arguments = host.arguments();
        for text in Texts::of(arguments.as_deref().unwrap_or_default()) {
            match text.map(|text| self.pattern_of(&text)) {
                Some(None) => {}
                Some(Some(place)) => return screened(place),
                None => return Decision::deny("screened", "a text in the arguments cannot be decoded"),
            }
        }
        Decision::Abstain
    }
}

witgate_plugin::export_authorizer!(RequestScreen);
