//! `[accounts]`, and policies of the kind `accounts`.

use super::{Folder, write_private};

const REST: &str = "[upstreams.a]\nown_tools = true\n[policies.people]\nkind = 'accounts'\n[policies.roles]\nkind = 'rbac'\nconfig.roles.ops = { allow = ['*'] }\n[pipeline]\nauthenticate = ['people']\nauthorize = ['roles']\n[lockout]\n";

/// A directory with the files of accounts, of which this configuration is loaded.
pub(super) fn folder(config: &str) -> Folder {
    let folder = Folder::with(&format!("{REST}{config}"));
    let state = folder.0.path().join("witgate.state/accounts");
    std::fs::create_dir_all(&state).unwrap();
    for path in ["key", "keys.json", "ended.jsonl"].map(|name| state.join(name)) {
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
