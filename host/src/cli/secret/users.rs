//! The settings that use secrets of the store.

use std::collections::BTreeMap;

use toml::Value;

use crate::cli::context::Context;
use crate::cli::outcome::CommandFailure;

/// The paths of settings, by the name of the secret.
pub(super) fn of(context: &Context) -> Result<BTreeMap<String, Vec<String>>, CommandFailure> {
    let Some(path) = context.config_path() else { return Ok(BTreeMap::new()) };
    let shown = path.display();
    let text = std::fs::read_to_string(&path)
        .map_err(|error| CommandFailure::new(format!("{shown} cannot be read: {error}")))?;
    let table: toml::Table = toml::from_str(&text).map_err(|_| {
        CommandFailure::new(format!(
            "{shown} is not TOML, so that nobody knows which secrets it uses; see `witgate check`"
        ))
    })?;
    let mut users = BTreeMap::new();
    collect(&Value::Table(table), &mut Vec::new(), &mut users);
    Ok(users)
}

fn collect(value: &Value, path: &mut Vec<String>, users: &mut BTreeMap<String, Vec<String>>) {
    let mut inner = |step: String, value: &Value| {
        path.push(step);
        collect(value, path, users);
        path.pop();
    };
    match value {
        Value::Table(table) => {
            table.iter().for_each(|(name, value)| inner(name.clone(), value));
            if let Some(Value::String(secret)) = table.get("stored") {
                users.entry(secret.clone()).or_default().push(path.join("."));
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(place, value)| inner(place.to_string(), value));
        }
        _ => {}
    }
}
