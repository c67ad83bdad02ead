//! Policies for passwords.

use super::Folder;

/// Everything that is reported about a configuration with a `basic` policy and this `[server]`.
fn says(server: &str) -> String {
    says_with(server, "")
}

/// The same, with more at the end.
fn says_with(server: &str, more: &str) -> String {
    let text = format!(
        "[server]\n{server}\n[upstreams.u]\nown_tools = true\n[policies.people]\nkind = 'basic'\n\
         config.users.content = 'version = 1'\n[pipeline]\nauthenticate = ['people']\nauthorize = ['people']\n{more}"
    );
    Folder::with(&text).says()
}

#[test]
fn passwords_do_not_cross_a_network_in_clear() {
    let refused = |server: &str| says(server).contains("in clear");
    let proxies = "trusted_proxies = ['10.0.0.0/8']\nforwarded = 'forwarded'";
    for (server, expected) in [
        ("", false),
        ("listen = '127.0.0.1:1'", false),
        ("listen = '[::1]:1'", false),
        ("transport = 'stdio'\nlisten = '0.0.0.0:1'", false),
        ("listen = '0.0.0.0:1'", true),
        ("listen = '192.0.2.1:1'\nresource = 'https://mcp.example.com/mcp'", true),
        (&format!("listen = '0.0.0.0:1'\nresource = 'https://mcp.example.com/mcp'\n{proxies}"), false),
        (&format!("listen = '0.0.0.0:1'\nresource = 'http://mcp.example.com/mcp'\n{proxies}"), true),
    ] {
        assert_eq!(refused(server), expected, "{server}");
    }
    let fault = says("listen = '0.0.0.0:1'\nresource = 'https://mcp.example.com/mcp'");
    assert!(fault.contains(":7:8: passwords would cross the network in clear"), "{fault}");
}

#[test]
fn passwords_without_pauses_are_a_warning() {
    let warned = "passwords may be guessed without a pause";
    let warning = says("");
    assert!(warning.contains(&format!(":6:8: {warned}")), "{warning}");
    assert!(!says_with("", "[lockout]\n").contains(warned));
    assert!(!says("transport = 'stdio'").contains(warned), "the client has started Witgate itself");
}

#[test]
fn the_cost_of_hashes_can_only_rise() {
    let says = |table: &str| says_with("", &format!("[passwords]\n{table}\n"));
    for (table, expected) in [
        ("memory_kib = 19455", "`passwords.memory_kib`"),
        ("passes = 1", "`passwords.passes`"),
        ("lanes = 0", "`passwords.lanes`"),
        ("memory_kib = 131072\npasses = 9", "a check would take too long: 131072 KiB in 9 passes"),
    ] {
        let said = says(table);
        assert!(said.contains(expected), "{table}: {said}");
    }
    let folder = Folder::with(
        "[upstreams.u]\nown_tools = true\n[pipeline]\nauthorize = ['rules']\nanonymous = {}\n\
         [policies.rules]\nkind = 'rbac'\nconfig = { roles = {} }\n[passwords]\nmemory_kib = 65536\npasses = 3\n",
    );
    let cost = folder.load().unwrap().config.password_cost;
    assert_eq!((cost.memory_kib, cost.passes, cost.lanes), (65_536, 3, 1));
}
