//! The allowed host names of requests.

use serde_json::json;
use witgate_tests::gateway::Setup;
use witgate_tests::wire::Request;

#[test]
fn a_refused_host_is_logged_and_a_host_of_an_allowed_zone_is_accepted() {
    let setup = Setup::new();
    setup.config(
        "allowed_hosts = ['*.example.com']",
        "[upstreams.own]\nown_tools = true\n[policies.roles]\nkind = 'rbac'\n\
         [policies.roles.config.roles]\nguest = { allow = ['*'] }\n\
         [pipeline]\nanonymous = { roles = ['guest'] }\nauthorize = ['roles']\n",
    );
    let gateway = setup.serve();
    let list = Request::stateless(&gateway.address(), "/mcp", "tools/list", json!({}));
    let status = |host: &str| list.clone().set("Host", host).send().status;
    assert_eq!(["a.example.com", "example.com\u{202e}"].map(status), [200, 403]);
    let log = gateway.await_log("add it to `server.allowed_hosts`");
    assert!(log.contains(r"example.com\\u{202e}"), "{log}");
    assert!(!log.contains('\u{202e}'));
    // A hundred requests do not fill the log.
    assert!((0..100).all(|_| status("evil.example") == 403));
    assert_eq!(status("b.example.com"), 200);
    assert_eq!(gateway.log().matches("add it to `server.allowed_hosts`").count(), 1);
}
