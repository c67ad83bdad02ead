//! Patterns in the form of the settings.

use witgate_plugin::{ConfigError, Pattern, PatternError};

pub(crate) fn patterns(texts: &[String], path: &[&str]) -> Result<Vec<Pattern>, ConfigError> {
    texts
        .iter()
        .enumerate()
        .map(|(index, text)| pattern(text, &[path, &[index.to_string().as_str()]].concat()))
        .collect()
}

pub(crate) fn pattern(text: &str, path: &[&str]) -> Result<Pattern, ConfigError> {
    text.parse().map_err(|error: PatternError| ConfigError::at_path(path, error.to_string()))
}
