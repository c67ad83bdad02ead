//! The output of programs.

use anyhow::{Context, Result, ensure};

/// Parses one line of a driver's output: a JSON value.
pub(super) fn parse(line: &str) -> Result<serde_json::Value> {
    let value = serde_json::from_str(line).with_context(|| format!("not JSON: {line:?}"))?;
    ensure!(matches!(value, serde_json::Value::Object(_)), "not an object: {line:?}");
    Ok(value)
}
