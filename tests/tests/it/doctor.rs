//! `witgate doctor` before real servers, and beside a running gateway.

use serde_json::Value;
use witgate_tests::gateway::Setup;
use witgate_tests::oauth::{Format, INTROSPECTOR, Make, Plan};

/// The findings of a command as JSON, and its exit code.
fn examined(setup: &Setup, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = setup.run(&[&["doctor", "--json"], arguments].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr));
    });
    (report, output.status.code())
}

/// The levels and messages of a check.
fn findings(report: &Value, check: &str) -> Vec<(String, String)> {
    let checks = report["checks"].as_array().unwrap();
    let of = checks.iter().find(|it| it["check"] == check).unwrap_or_else(|| panic!("no {check}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = of["findings"].as_array().unwrap().iter();
    all.map(|finding| (text(&finding["level"]), text(&finding["message"]))).collect()
}

/// A configuration with own tools that trusts an issuer.
fn config(setup: &Setup, issuer: &str) {
    setup.config(
        &format!("authorization_servers = ['{issuer}']\n"),
        &format!(
            "[upstreams.own]\nown_tools = true\n\
             [policies.signed]\nkind = 'jwt'\nconfig = {{ issuer = '{issuer}', algorithms = ['RS256'] }}\n\
             [policies.opaque]\nkind = 'oauth2-introspection'\n[policies.opaque.config]\nissuer = '{issuer}'\n\
             client_id = '{}'\nclient_secret = {{ env = 'INTROSPECTOR_SECRET' }}\n\
             [policies.rules]\nkind = 'rbac'\nconfig.roles.caller = {{ allow = ['*'] }}\n\
             [pipeline]\nauthenticate = ['signed', 'opaque']\nauthorize = ['rules']\n",
            INTROSPECTOR.0
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_issuer_passes_and_its_skewed_clock_is_a_warning() {
    let setup = Setup::new().env("INTROSPECTOR_SECRET", INTROSPECTOR.1);
    let plan = || Plan::default().resource(&setup.url(), Format::Jwt);
    let issuer = plan().start(Make::OidcProvider).unwrap();
    config(&setup, &issuer.issuer());
    let (report, code) = examined(&setup, &[]);
    assert_eq!((code, &report["ok"]), (Some(0), &Value::Bool(true)), "{report:#}");
    for check in ["issuers", "key sets", "introspection", "clocks"] {
        let found = findings(&report, check);
        assert!(!found.is_empty() && found.iter().all(|(level, _)| level == "pass"), "{check}: {found:?}");
    }

    let skewed = plan().ahead_s(120).start(Make::OidcProvider).unwrap();
    config(&setup, &skewed.issuer());
    let (report, code) = examined(&setup, &[]);
    let found = findings(&report, "clocks");
    assert!(code == Some(0) && found[0].0 == "warn" && found[0].1.contains("ahead of this one"), "{found:?}");

    // The server refuses the client.
    let wrong = Setup::new().env("INTROSPECTOR_SECRET", "a-secret-that-nobody-knows");
    config(&wrong, &issuer.issuer());
    let (report, code) = examined(&wrong, &[]);
    assert_eq!((code, findings(&report, "introspection")[0].0.as_str()), (Some(1), "fail"), "{report:#}");
    assert!(!report.to_string().contains("a-secret-that-nobody-knows"));
}

/// The address is in use by the gateway itself, and the file of a client leads to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_and_its_client_pass() {
    let setup = Setup::new();
    setup.config(
        "",
        "[upstreams.own]\nown_tools = true\n[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n",
    );
    let key = setup.key(&["ada", "--allow", "*"]);
    let running = setup.serve();
    let setup = running.setup();
    let (report, code) = examined(setup, &["--offline"]);
    assert_eq!(code, Some(0), "{report:#}");
    let listeners = findings(&report, "listeners");
    assert!(
        listeners.iter().any(|(_, message)| message.contains("in use while Witgate runs")),
        "{listeners:?}"
    );

    let client = |key: &str| {
        let url = setup.url();
        format!(
            r#"{{ "mcpServers": {{ "a": {{ "url": "{url}", "headers": {{ "X-API-Key": "{key}" }} }} }} }}"#
        )
    };
    setup.file("mcp.json", client(&key));
    let (report, code) = examined(setup, &["--client", "mcp.json"]);
    assert_eq!(code, Some(0), "{report:#}");
    assert!(!report.to_string().contains(&key), "{report:#}");
    setup.file("mcp.json", client("wgk_0"));
    let (report, code) = examined(setup, &["--client", "mcp.json"]);
    assert_eq!((code, &report["failures"]), (Some(1), &Value::from(1)), "{report:#}");
}
