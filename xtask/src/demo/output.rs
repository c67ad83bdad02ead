//! The output of programs.

use anyhow::{Context, Result, ensure};

/// Parses the output of a driver: one JSON value a line.
pub(super) fn parse(line: &str) -> Result<serde_json::Value> {
    let value = serde_json::from_str(line).with_context(|| format!("not JSON: {line:?}"))?;
    ensure!(matches!(value, serde_json::Value::Object(_)), "not an object: {line:?}");
    Ok(value)
}
