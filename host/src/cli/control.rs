//! The control socket of the running Witgate, and its answers as people read them.

use std::path::PathBuf;

use serde_json::Value;

use super::context::Context;
use super::outcome::CommandFailure;
use crate::control::place;
use witgate_config::resolve::Outline;

/// The control socket of the Witgate with this configuration. Nothing else of the configuration has to be
/// good: it may be broken just now, which is when one looks.
pub(super) fn socket(context: &Context) -> Result<PathBuf, CommandFailure> {
    let Some(path) = context.config_path() else {
        return Err(CommandFailure::new(
            "there is no configuration file, and a Witgate without one has no control socket; name one with `--config FILE`",
        ));
    };
    let outline = Outline::recover(&path).map_err(CommandFailure::Config)?;
    Ok(place::find(&outline.control(), &context.environment))
}

/// Seconds since the Unix epoch, as people read them.
pub(super) fn time(seconds: Option<&Value>) -> String {
    seconds.and_then(Value::as_u64).map_or_else(
        || "-".to_owned(),
        |seconds| {
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            humantime::format_rfc3339_seconds(at).to_string()
        },
    )
}

pub(super) fn cell(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        // The whole digest is in the JSON.
        Some(Value::String(text)) if name == "digest" => text.chars().take("sha256:".len() + 12).collect(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
