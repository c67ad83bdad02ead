//! `[accounts]`, and policies of the kind `accounts`.

use super::{Folder, write_private};

const REST: &str = "[upstreams.a]\nown_tools = true\n[policies.people]\nkind = 'accounts'\n[policies.roles]\nkind = 'rbac'\nconfig.roles.ops = { allow = ['*'] }\n[pipeline]\nauthenticate = ['people']\nauthorize = ['roles']\n[lockout]\n";

/// A directory with the files of accounts, of which this configuration is loaded.
pub(super) fn folder(config: &str) -> Folder {
    let folder = Folder::with(&format!("{REST}{config}"));
    let state = folder.0.path().join("witgate.state/accounts");
    std::fs::create_dir_all(&state).unwrap();
    for path in ["key", "keys.json", "ended.jsonl", "own-keys.toml"].map(|name| state.join(name)) {
        write_private(&path, "");
    }
    write_private(&folder.0.path().join("accounts.db"), "");
    folder
}

#[test]
fn the_policy_of_accounts_is_one_for_their_tokens() {
    let folder = folder(
        "[accounts]\n[server]\nresource = 'https://mcp.example.com/mcp'\ntrusted_proxies = ['::1']\nforwarded = 'forwarded'\n",
    );
    let loaded = folder.load().unwrap_or_else(|_| panic!("{}", folder.says()));
    assert_eq!(folder.says(), "");
    let accounts = loaded.config.accounts.unwrap();
    assert_eq!(accounts.service_names, ["a", "example", "mcp.example.com"]);
    assert!(!accounts.second_factor.is_for(&["ops".to_owned()]));
    assert_eq!(accounts.second_factor_remembered.as_secs(), 30 * 86_400);
    assert_eq!((&*accounts.issuer, accounts.access_ttl.as_secs()), ("https://mcp.example.com", 3_600));
    assert_eq!(accounts.resources[0].url, "https://mcp.example.com/mcp");
    assert_eq!(loaded.config.server.authorization_servers, ["https://mcp.example.com"]);
    let policy = &loaded.config.policies["people"];
    assert_eq!(policy.kind, crate::PolicyKind::Jwt);
    assert_eq!(
        (&policy.config["issuer"], &policy.config["typ"]),
        (&"https://mcp.example.com".into(), &"at+jwt".into())
    );
    assert!(policy.config["revoked"].as_str().unwrap().ends_with("witgate.state/accounts/ended.jsonl"));
}

#[test]
fn faults_of_accounts_are_reported_with_their_places() {
    for (config, said) in [
        (
            "",
            "witgate.toml:4:8: the policy `people` is for accounts, and there is no `[accounts]` (add a table `[accounts]`)\n",
        ),
        (
            "[accounts]\nissuer = 'https://mcp.example.com/'\n",
            "witgate.toml:13:10: an issuer ends without a slash (write `https://mcp.example.com`)\n",
        ),
        (
            "[accounts]\nissuer = 'https://mcp.example.com/x'\n",
            "witgate.toml:13:10: `https://mcp.example.com/x` is not an origin (write `https://mcp.example.com`)\n",
        ),
        (
            "[accounts]\nissuer = 'http://mcp.example.com'\n",
            "witgate.toml:13:10: a credential would cross the network in clear: this is plain HTTP (write an `https://` URL, or one of this machine)\n",
        ),
        ("[accounts]\naccess_ttl_min = 1\n", "witgate.toml:13:18: "),
        ("[accounts]\nregistration = ['dcr', 'open']\n", "witgate.toml:13:24: "),
        (
            "[accounts]\nscopes = { 'a b' = 'x', offline_access = 'x', c = ' ' }\n",
            "witgate.toml:13:20: `a b` is not a scope (a scope has no blanks, quotes and backslashes)\nwitgate.toml:13:42: `offline_access` is offered without a setting (leave it out)\nwitgate.toml:13:51: the scope `c` has no description for people (say what a client may do with it, such as \"Read your notes\")\n",
        ),
        ("[accounts]\nsecond_factor = 'maybe'\n", "witgate.toml:13:17: "),
        ("[accounts]\nsecond_factor_remember_days = 91\n", "witgate.toml:13:31: "),
        (
            "[accounts]\nsecond_factor = 'required'\nsecond_factor_roles = ['ops']\n",
            "witgate.toml:14:23: everybody needs a second factor, so roles have no effect (leave the roles out, or write `second_factor = \"optional\"`)\n",
        ),
        (
            "[accounts]\nstore = 'other.db'\n",
            "witgate.toml:13:9: there is no file `other.db` (make it with the first user: `witgate user add NAME --accounts --role ROLE`)\n",
        ),
        (
            "[accounts]\n[server]\ntransport = 'stdio'\n",
            "witgate.toml:12:2: over stdio there are no pages where somebody could log in (leave `[accounts]` out, or use `transport = \"http\"`)\n",
        ),
    ] {
        let said_now = folder(config).says();
        assert!(said_now.contains(said), "{config}\n{said_now}");
    }
    let said = folder("[accounts]\n[upstreams.a.pipeline]\n").says();
    assert!(!said.contains("is a path of"), "{said}");
    let moved = REST.replace("own_tools = true", "own_tools = true\npath = '/oauth/mcp'");
    let path = folder("[accounts]\n");
    std::fs::write(path.path(), format!("{moved}[accounts]\n")).unwrap();
    assert_eq!(
        path.says(),
        "witgate.toml:3:8: `/oauth/mcp` is a path of `[accounts]` (choose another path, such as `/mcp`)\n"
    );
}

#[test]
fn accounts_are_only_where_nobody_reads_passwords() {
    let said = folder("[accounts]\nissuer = 'https://a.example.com'\n[server]\nlisten = '0.0.0.0:1'\nresource = 'https://a.example.com/mcp'\n").says();
    assert!(said.contains("witgate.toml:12:2: passwords would cross the network in clear"), "{said}");
    let open = folder("[accounts]\n");
    std::fs::write(open.path(), format!("{}[accounts]\n", REST.replace("[lockout]\n", ""))).unwrap();
    assert!(open.says().contains("passwords may be guessed without a pause"), "{}", open.says());
}

#[test]
fn missing_files_beside_the_database_are_told_apart() {
    let folder = folder("[accounts]\n");
    let state = folder.0.path().join("witgate.state/accounts");
    std::fs::remove_file(state.join("ended.jsonl")).unwrap();
    assert!(folder.says().contains("`witgate accounts repair`"), "{}", folder.says());
    std::fs::remove_file(state.join("key")).unwrap();
    assert!(folder.says().contains("restore it from a backup"), "{}", folder.says());
}

const OWN_KEYS: &str = "[policies.own]\nkind = 'api-key'\nconfig = { accounts = true }\n";

#[test]
fn a_policy_may_be_for_the_keys_of_accounts() {
    let scopes = "[accounts]\nscopes = { 'mcp:read' = 'Read' }\n";
    let found = folder(&format!("{OWN_KEYS}{scopes}"));
    let loaded = found.load().unwrap_or_else(|_| panic!("{}", found.says()));
    let settings = &loaded.config.policies["own"].config;
    assert!(
        settings["owned"].as_str().unwrap().ends_with("witgate.state/accounts/own-keys.toml"),
        "{settings}"
    );
    assert_eq!(
        (&settings["owned_scopes"], settings.get("accounts")),
        (&serde_json::json!(["mcp:read"]), None)
    );
    assert_eq!(settings["owned_second_factor_roles"], serde_json::json!([]));
    for (rule, name, who) in [
        ("second_factor_roles = ['ops']", "owned_second_factor_roles", serde_json::json!(["ops"])),
        ("second_factor = 'required'", "owned_second_factor", true.into()),
    ] {
        let strict = folder(&format!("{OWN_KEYS}[accounts]\n{rule}\n"));
        let loaded = strict.load().unwrap_or_else(|_| panic!("{}", strict.says()));
        assert_eq!(loaded.config.policies["own"].config[name], who, "{rule}");
    }
    // Operators cannot name another file.
    let other = folder(&format!("{}{scopes}", OWN_KEYS.replace("accounts = true", "owned = 'keys.toml'")));
    assert!(other.says().contains("`owned`"), "{}", other.says());
    let without = folder("");
    std::fs::write(
        without.path(),
        format!(
            "{}{OWN_KEYS}",
            REST.replace("kind = 'accounts'", "kind = 'api-key'\nconfig.store = 'keys.toml'")
        ),
    )
    .unwrap();
    assert!(
        without.says().contains("is for keys of accounts, and there is no `[accounts]`"),
        "{}",
        without.says()
    );
    std::fs::remove_file(found.0.path().join("witgate.state/accounts/own-keys.toml")).unwrap();
    assert!(found.says().contains("`witgate accounts repair`"), "{}", found.says());
}

#[test]
fn own_tools_need_what_they_tell_about() {
    let with = |tools: &str, rest: &str| {
        let found = folder(&format!("[accounts]\n{rest}"));
        let server = format!("command = ['/bin/true']\n{tools}");
        std::fs::write(
            found.path(),
            format!("{}[accounts]\n{rest}", REST.replace("own_tools = true", &server)),
        )
        .unwrap();
        found.says()
    };
    let every = "own_tools = ['authenticate_user', 'logout', 'get_user_profile', 'get_security_summary']\nown_resources = ['user://profile', 'security://summary']";
    assert_eq!(with(every, ""), "");
    let says = with("own_tools = ['create_api_key', 'list_audit_events']", "");
    assert!(says.contains("`create_api_key` makes keys that no policy accepts"), "{says}");
    assert!(says.contains("`list_audit_events` reads the audit log, and there is none"), "{says}");
    let more = format!("{OWN_KEYS}[audit]\ndirectory = 'audit'\n");
    let says = with("own_tools = ['create_api_key', 'list_audit_events']", &more);
    assert!(!says.contains("create_api_key") && !says.contains("list_audit_events"), "{says}");
    let says = with("own_resources = ['user://profile', 'user://profile']", "");
    assert!(says.contains("`user://profile` is there twice"), "{says}");
    let says = folder("[accounts]\n").says();
    assert_eq!(says, "");
}
