//! The difference between two texts of a configuration: which settings have changed, and from when on they count.

use serde_json::Value;
use toml::Table;

use super::effects::{Effect, effect_of};

/// A setting that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettingChange {
    /// Its key, with the table: `server.max_request_mib`.
    pub key: String,
    /// The former value. None: it was absent.
    pub old: Option<String>,
    /// The new value. None: it is absent.
    pub new: Option<String>,
    /// The moment from which it counts, in words.
    pub in_force: &'static str,
}

/// The text for a value that is not shown.
const HIDDEN: &str = "(not shown)";

/// Tables without secrets, whose values are shown. Numbers and booleans are always shown.
const SHOWN: &[&str] = &["server", "limits", "lockout", "passwords", "telemetry", "pipeline"];

/// Settings of upstreams without secrets.
const SHOWN_OF_UPSTREAMS: &[&str] = &[
    "credential",
    "denials",
    "eras",
    "own_tools",
    "path",
    "pipeline",
    "resource",
    "resource_name",
    "scopes",
    "transport",
];

/// The most characters of a value that is shown.
const LONGEST: usize = 60;

/// The settings that differ, in the order of their keys. A text that is not TOML has no settings.
pub(crate) fn difference(old: &str, new: &str) -> Vec<SettingChange> {
    let read = |text: &str| {
        let table = text.parse::<Table>().unwrap_or_default();
        serde_json::to_value(table).unwrap_or_default()
    };
    let mut changes = Vec::new();
    compare(&mut Vec::new(), (Some(&read(old)), Some(&read(new))), &mut changes);
    changes
}

/// Compares two values at `path`: tables member by member, and all other values as a whole.
fn compare(
    path: &mut Vec<String>,
    (old, new): (Option<&Value>, Option<&Value>),
    changes: &mut Vec<SettingChange>,
) {
    if old == new {
        return;
    }
    let table = |value: Option<&Value>| value.is_none_or(Value::is_object);
    if table(old) && table(new) {
        let members = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
        let (old, new) = (members(old), members(new));
        let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            path.push(key.clone());
            compare(path, (old.get(key), new.get(key)), changes);
            path.pop();
        }
        return;
    }
    let shown = |value: &Value| shown(path, value);
    let in_force = effect_of(path).unwrap_or(Effect::AtOnce).text();
    changes.push(SettingChange { key: path.join("."), old: old.map(shown), new: new.map(shown), in_force });
}

/// A value as a report may show it.
fn shown(path: &[String], value: &Value) -> String {
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    let has_no_secrets = match path.as_slice() {
        // The key of `[server.tls]` can be in the file.
        ["server", "tls", setting, ..] => *setting != "key",
        // A URL may contain a password.
        ["telemetry", "otlp_endpoint", ..] => false,
        ["upstreams", _, setting, ..] => SHOWN_OF_UPSTREAMS.contains(setting),
        [table, ..] => SHOWN.contains(table),
        [] => false,
    };
    if !has_no_secrets && !value.is_number() && !value.is_boolean() {
        return HIDDEN.to_owned();
    }
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(old: &str, new: &str) -> Vec<(String, Option<String>, Option<String>, &'static str)> {
        let changes = difference(old, new).into_iter();
        changes.map(|change| (change.key, change.old, change.new, change.in_force)).collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn changed_settings_have_their_values_and_their_effect() {
        let old = "[server]\nmax_request_mib = 4\nlisten = '127.0.0.1:1'\n[upstreams.a]\npath = '/a'\n";
        let new = "[server]\nmax_request_mib = 8\n[upstreams.a]\npath = '/b'\nscopes = ['x']\n[audit]\nsync = 'no'\n";
        assert_eq!(
            changed(old, new),
            [
                ("audit.sync".to_owned(), None, some(HIDDEN), "after a restart"),
                ("server.listen".to_owned(), some("\"127.0.0.1:1\""), None, "for new connections"),
                ("server.max_request_mib".to_owned(), some("4"), some("8"), "at once"),
                ("upstreams.a.path".to_owned(), some("\"/a\""), some("\"/b\""), "for new sessions"),
                ("upstreams.a.scopes".to_owned(), None, some("[\"x\"]"), "at once"),
            ]
        );
        assert_eq!(changed(old, old), []);
    }

    #[test]
    fn an_added_table_is_shown_setting_by_setting() {
        let new = "[limits.calls]\nrate = '5/min'\n";
        assert_eq!(changed("", new), [("limits.calls.rate".to_owned(), None, some("\"5/min\""), "at once")]);
    }

    #[test]
    fn no_secret_is_shown() {
        let old = "[upstreams.a]\nurl = 'https://u:SECRET@x/?k=SECRET'\ncommand = ['x', 'SECRET']\n\
                   headers = { A = 'SECRET' }\nenv = { A = 'SECRET' }\n[keys.k]\nsecret = 'SECRET'\n\
                   [policies.p]\nconfig = { x = 'SECRET' }\n[credentials.c]\ntoken = 'SECRET'\n\
                   [telemetry]\notlp_endpoint = 'http://u:SECRET@x'\n[network]\nproxy = 'http://u:SECRET@x'\n\
                   [server.tls]\nkey = 'SECRET'\n[audit]\nkey = 'SECRET'\n[signing]\nkey = { env = 'SECRET' }\n";
        for (old, new) in [(old, ""), ("", old)] {
            let changes = changed(old, new);
            assert_eq!(changes.len(), 12, "{changes:?}");
            assert!(!format!("{changes:?}").contains("SECRET"), "{changes:?}");
        }
    }

    #[test]
    fn a_long_value_is_cut() {
        let new = format!("[server]\nallowed_hosts = ['{}']\n", "ä".repeat(500));
        let [change] = <[_; 1]>::try_from(difference("", &new)).unwrap();
        assert!(change.new.unwrap().chars().count() <= LONGEST + 1);
    }

    #[test]
    fn a_text_that_is_not_toml_has_no_settings() {
        assert_eq!(changed("]", "[server]\nmax_request_mib = 8").len(), 1);
    }
}
