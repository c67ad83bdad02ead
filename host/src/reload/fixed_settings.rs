//! The settings that only a start can change.

use toml::Table;

use witgate_config::accounts::AccountPlace;
use witgate_config::{Config, Server, Transport};

/// The settings that are fixed at the start, as texts. Secrets in them do not print.
#[derive(Debug)]
pub(super) struct FixedSettings {
    texts: Vec<(&'static str, String)>,
    /// True if listeners and traces follow the configuration.
    pub(super) follows: bool,
    /// The files of accounts, which the running pages write and policies read.
    account_place: Option<AccountPlace>,
}

impl FixedSettings {
    /// The fixed settings of `config`. Without parts that follow the configuration, all of the listeners and traces
    /// is fixed.
    pub(super) fn of(config: &Config, follows: bool) -> Self {
        let server = &config.server;
        let mut texts = vec![
            ("server.transport", written_transport(&config.text)),
            ("server.admin_listen", format!("{:?}", server.admin_listen)),
            ("server.control", format!("{:?}", server.control)),
            ("server.state", format!("{:?}", server.state)),
            ("server.dpop", format!("{:?}", server.dpop_nonces)),
            ("server.tls", if server.tls.is_some() { "on" } else { "off" }.to_owned()),
            ("secrets.core_dumps", config.secrets.are_core_dumps_permitted().to_string()),
            ("accounts", format!("{:?}", config.accounts)),
            ("audit", format!("{:?}", config.audit)),
        ];
        if !follows {
            // `serve --transport` overrides that of the file.
            let server = Server { transport: Transport::Http, ..server.clone() };
            texts.push(("server", format!("{server:?}")));
            texts.push(("telemetry", format!("{:?}", config.telemetry)));
        }
        let account_place = config.accounts.as_ref().map(|accounts| accounts.place.clone());
        Self { texts, follows, account_place }
    }

    /// The differences in `now`, in sentences: a change with one of them waits for a restart as a whole.
    pub(super) fn obstacles(&self, now: &Self) -> Vec<String> {
        let moved = self.account_place.as_ref().filter(|place| now.account_place.as_ref() != Some(place));
        let moved = now.account_place.as_ref().and(moved).map(|place| {
            format!(
                "needs a restart: the accounts are elsewhere now (`accounts.store` or `server.state`). Until then, those \
                 in {} are in use",
                place.store.display()
            )
        });
        let changed = self.texts.iter().filter(|(key, text)| now.text(key) != Some(text));
        let changed = changed.map(|(key, text)| match (*key, now.text(key)) {
            ("accounts" | "audit" | "server" | "telemetry", _) => {
                format!("needs a restart: a change in [{key}]")
            }
            (key, new) => {
                format!("needs a restart: `{key}`, from {text} to {}", new.map_or("nothing", String::as_str))
            }
        });
        moved.into_iter().chain(changed).collect()
    }

    fn text(&self, key: &str) -> Option<&String> {
        self.texts.iter().find(|(other, _)| *other == key).map(|(_, text)| text)
    }
}

/// The transport as it is written. `serve --transport` overrides it, so that it says nothing about a change.
fn written_transport(text: &str) -> String {
    let table = text.parse::<Table>().unwrap_or_default();
    let transport = table.get("server").and_then(|server| server.get("transport"));
    transport.and_then(|transport| transport.as_str()).unwrap_or("http").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reload::effects::{EFFECTS, Effect};
    use witgate_config::environment::Environment;
    use witgate_config::resolve;

    const REST: &str = "[upstreams.own]\nown_tools = true\n[policies.rules]\nkind = 'rbac'\n\
                        config = { roles = { all = { allow = ['*'] } } }\n[pipeline]\nauthorize = ['rules']\n\
                        anonymous = { roles = ['all'] }\n";

    fn config(settings: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witgate.toml");
        let loaded = resolve::load_text(&path, &format!("{settings}\n{REST}"), &Environment::default());
        let mut config = loaded.unwrap_or_else(|faults| panic!("{faults:?}")).config;
        // The directory is another one each time.
        config.server.control = None;
        config.server.state = None;
        config
    }

    fn obstacles(old: &str, new: &str, follows: bool) -> Vec<String> {
        let fixed = |settings| FixedSettings::of(&config(settings), follows);
        fixed(old).obstacles(&fixed(new))
    }

    #[test]
    fn a_change_that_needs_a_restart_is_named() {
        for (new, key) in [
            ("[server]\ntransport = 'stdio'", "`server.transport`, from http to stdio"),
            (
                "[server]\nadmin_listen = '127.0.0.1:9'",
                "`server.admin_listen`, from None to Some(127.0.0.1:9)",
            ),
            ("[server.dpop]\nnonces = true", "`server.dpop`, from false to true"),
            ("[secrets]\ncore_dumps = true", "`secrets.core_dumps`, from false to true"),
            ("[audit]\ndirectory = 'log'", "a change in [audit]"),
        ] {
            let found = obstacles("", new, true);
            assert!(matches!(&found[..], [one] if one.contains(key)), "{new}: {found:?}");
        }
    }

    #[test]
    fn other_changes_need_no_restart_where_the_parts_follow() {
        let new =
            "[server]\nlisten = '127.0.0.1:9'\nallowed_origins = ['https://a.example']\nmax_request_mib = 1";
        assert_eq!(obstacles("", new, true), [""; 0]);
        assert_eq!(obstacles("", new, false), ["needs a restart: a change in [server]"]);
    }

    #[test]
    fn each_setting_that_counts_after_a_restart_is_fixed() {
        let fixed = FixedSettings::of(&config(""), true);
        for (row, _) in EFFECTS.iter().filter(|(_, effect)| *effect == Effect::Restart) {
            assert!(fixed.text(row).is_some(), "{row}");
        }
    }
}
