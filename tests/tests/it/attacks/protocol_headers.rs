//! A plugin that declares a header of the protocol as its credential's. Expected: it is refused, as component and as
//! built-in, and the message names the header. A header that is a credential for one upstream is an ordinary one for
//! the others.

use std::collections::BTreeSet;

use serde_json::json;
use witgate_tests::gateway::Setup;
use witgate_tests::wire::Request;

#[test]
fn a_protocol_header_as_credential_header_is_refused_by_name() {
    for header in [
        "Host",
        "content-type",
        "Mcp-Name",
        "MCP-Protocol-Version",
        "Accept",
        "traceparent",
        "Cookie",
        "DPoP",
        "X-Forwarded-For",
    ] {
        let component = if header == "Mcp-Name" { "component = 'plugins/api-key.wasm'\n" } else { "" };
        for component in BTreeSet::from(["", component]) {
            let setup = Setup::new();
            setup.component("api-key");
            setup.config(
                "",
                &format!(
                    "[upstreams.own]\nown_tools = true\n\
                     [policies.keys]\nkind = 'api-key'\n{component}config = {{ store = 'keys.toml', header = '{header}' }}\n\
                     [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n"
                ),
            );
            setup.file("keys.toml", "version = 1\n");
            let checked = setup.run(&["check"]);
            let text = witgate_tests::gateway::unframed(&String::from_utf8_lossy(&checked.stderr));
            assert!(!checked.status.success(), "{header}: {text}");
            assert!(
                text.contains(&format!(
                    "the credential header \"{header}\" is a header of HTTP or MCP itself"
                )),
                "{text}"
            );
        }
    }
}

#[test]
fn a_credential_header_of_one_upstream_is_not_removed_for_another() {
    let setup = Setup::new();
    setup.config(
        "",
        "[upstreams.one]\nown_tools = true\n[upstreams.other]\nown_tools = true\n\
         [policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml', header = 'X-Tenant' }\n\
         [policies.others]\nkind = 'api-key'\nconfig = { store = 'others.toml' }\n\
         [upstreams.one.pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n\
         [upstreams.other.pipeline]\nauthenticate = ['others']\nauthorize = ['others']\n",
    );
    let key = setup.key(&["user", "--policy", "keys", "--allow", "*"]);
    let other = setup.key(&["user", "--policy", "others", "--allow", "*"]);
    let running = setup.serve();
    let call = |path: &str| {
        let params = json!({ "name": "echo", "arguments": { "text": "x" } });
        Request::stateless(&running.address(), path, "tools/call", params)
    };
    assert_eq!(call("/one/mcp").with("X-Tenant", &key).send().status, 200);
    // For the other upstream the header is neither a credential nor one too many.
    assert_eq!(call("/other/mcp").with("X-Tenant", "acme").with("X-API-Key", &other).send().status, 200);
    assert_eq!(call("/other/mcp").with("X-Tenant", &key).send().refusal().2, "no-credential");
    assert_eq!(call("/one/mcp").with("X-API-Key", &other).send().refusal().2, "no-credential");
}
