//! The moment from which a changed setting counts. `docs/configuration.md` has the same table.

/// The moment from which a changed setting counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// With the next message.
    AtOnce,
    /// With the next connection.
    NewConnections,
    /// With the next session: the upstream is served anew, its sessions end, and its running calls finish.
    NewSessions,
    /// With the next start.
    Restart,
}

impl Effect {
    /// The moment in words.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::AtOnce => "at once",
            Self::NewConnections => "for new connections",
            Self::NewSessions => "for new sessions",
            Self::Restart => "after a restart",
        }
    }
}

/// The effects of settings. A row is about its key and all keys below it, as far as no longer row is; `*` is a name.
pub(super) const EFFECTS: &[(&str, Effect)] = &[
    ("server.transport", Effect::Restart),
    ("server.env_file", Effect::AtOnce),
    ("server.listen", Effect::NewConnections),
    ("server.tls", Effect::NewConnections),
    ("server.dpop", Effect::Restart),
    ("server.resource", Effect::NewSessions),
    ("server.resource_name", Effect::NewSessions),
    ("server.resource_documentation", Effect::NewSessions),
    ("server.resource_policy_uri", Effect::NewSessions),
    ("server.resource_tos_uri", Effect::NewSessions),
    ("server.authorization_servers", Effect::AtOnce),
    ("server.extensions", Effect::NewSessions),
    ("server.advertise_auth", Effect::NewSessions),
    ("server.scopes", Effect::AtOnce),
    ("server.allowed_origins", Effect::AtOnce),
    ("server.allowed_hosts", Effect::AtOnce),
    ("server.trusted_proxies", Effect::NewConnections),
    ("server.forwarded", Effect::NewConnections),
    ("server.deny_peers", Effect::AtOnce),
    ("server.admin_listen", Effect::Restart),
    ("server.control", Effect::Restart),
    ("server.state", Effect::Restart),
    ("server.keep_generations", Effect::AtOnce),
    ("server.max_connections", Effect::NewConnections),
    ("server.max_connections_per_peer", Effect::NewConnections),
    ("server.request_memory_mib", Effect::AtOnce),
    ("server.answer_memory_mib", Effect::AtOnce),
    ("server.max_request_mib", Effect::AtOnce),
    ("server.shutdown_grace_s", Effect::AtOnce),
    ("server.audit_overflow", Effect::NewSessions),
    ("server.audit_write", Effect::AtOnce),
    ("network", Effect::NewConnections),
    ("upstreams.*", Effect::NewSessions),
    ("upstreams.*.apis.*.credential", Effect::AtOnce),
    ("upstreams.*.credential", Effect::AtOnce),
    ("upstreams.*.env", Effect::AtOnce),
    ("upstreams.*.headers", Effect::AtOnce),
    ("upstreams.*.identity", Effect::AtOnce),
    ("upstreams.*.issue_token", Effect::AtOnce),
    ("upstreams.*.needs", Effect::AtOnce),
    ("upstreams.*.pins", Effect::AtOnce),
    ("upstreams.*.pipeline", Effect::AtOnce),
    ("upstreams.*.scopes", Effect::AtOnce),
    ("endpoints", Effect::NewSessions),
    ("policies", Effect::AtOnce),
    ("keys", Effect::AtOnce),
    ("credentials", Effect::AtOnce),
    ("pipeline", Effect::AtOnce),
    ("signing", Effect::AtOnce),
    ("accounts", Effect::Restart),
    ("limits", Effect::AtOnce),
    ("lockout", Effect::AtOnce),
    ("lint", Effect::AtOnce),
    ("reload", Effect::AtOnce),
    ("passwords", Effect::AtOnce),
    ("audit", Effect::Restart),
    ("telemetry", Effect::AtOnce),
    ("secrets", Effect::AtOnce),
    ("secrets.core_dumps", Effect::Restart),
];

/// The effect of the setting with this path. None: the setting is unknown.
pub(super) fn effect_of(path: &[String]) -> Option<Effect> {
    let fits = |row: &str| {
        let mut parts = path.iter();
        row.split('.').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
    };
    let rows = EFFECTS.iter().filter(|(row, _)| fits(row));
    rows.max_by_key(|(row, _)| row.split('.').count()).map(|(_, effect)| *effect)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use witgate_config::raw;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn the_longest_row_counts() {
        for (key, effect) in [
            ("upstreams.files.url", Some(Effect::NewSessions)),
            ("upstreams.files", Some(Effect::NewSessions)),
            ("upstreams.files.headers.X-Key", Some(Effect::AtOnce)),
            ("upstreams.files.apis.API_URL.to", Some(Effect::NewSessions)),
            ("upstreams.files.apis.API_URL.credential", Some(Effect::AtOnce)),
            ("policies.rules.config.roles.user.allow", Some(Effect::AtOnce)),
            ("secrets.core_dumps", Some(Effect::Restart)),
            ("secrets.store", Some(Effect::AtOnce)),
            ("server.resource_name", Some(Effect::NewSessions)),
            ("server.nothing", None),
            ("upstreams", None),
        ] {
            assert_eq!(effect_of(&path(key)), effect, "{key}");
        }
    }

    /// The properties of a table of the schema.
    fn properties(schema: &Value, of: &Value) -> Vec<String> {
        let target = of.get("$ref").and_then(Value::as_str).map(|name| name.trim_start_matches('#'));
        let table = target.and_then(|target| schema.pointer(target)).unwrap_or(of);
        table["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    }

    #[test]
    fn each_setting_has_an_effect_and_each_row_a_setting() {
        let schema = raw::schema();
        let tables = properties(schema, schema);
        assert!(tables.len() > 10, "{tables:?}");
        for table in &tables {
            let below = match table.as_str() {
                "server" => properties(schema, &schema["properties"]["server"]),
                _ => vec!["name".to_owned()],
            };
            for key in below {
                let path = [table.clone(), key];
                assert!(effect_of(&path).is_some(), "{path:?} has no effect");
            }
        }
        let servers = properties(schema, &schema["properties"]["server"]);
        for (row, _) in EFFECTS {
            let mut parts = row.split('.');
            let (table, key) = (parts.next().unwrap(), parts.next());
            assert!(tables.iter().any(|known| known == table), "{row}");
            let is_known = |key: &str| table != "server" || servers.iter().any(|known| known == key);
            assert!(key.is_none_or(is_known), "{row}");
        }
    }

    #[test]
    fn the_documentation_has_the_same_rows() {
        let page = include_str!("../../../docs/configuration.md");
        let table = page.split("| setting | in force |\n|---|---|\n").nth(1).expect("the table of effects");
        let mut documented = BTreeSet::new();
        for line in table.lines().take_while(|line| line.starts_with('|')) {
            let mut cells = line.trim_matches('|').split(" | ");
            let (keys, effect) = (cells.next().unwrap(), cells.next().unwrap_or_default());
            let effect = effect.split(['.', ':', ';']).next().unwrap().trim().to_owned();
            for key in keys.split('`').skip(1).step_by(2) {
                documented.insert((key.replace("NAME", "*").replace("VARIABLE", "*"), effect.clone()));
            }
        }
        let rows = EFFECTS.iter().map(|(row, effect)| ((*row).to_owned(), effect.text().to_owned()));
        assert_eq!(documented, rows.collect());
    }
}
