//! Callers whose own credential is in an argument, in `_meta` or in a name, because their software passes it on.
//! Expected: no recording of any policy contains it, in any encoding.

use std::process::{Child, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, await_some};
use witgate_tests::wire::Request;

fn record(running: &Running, policy: &str) -> Child {
    let arguments = ["plugin", "record", "--json", "--policy", policy, "--out", "recorded"];
    let mut command = running.setup().command(&arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    await_some("the recording", || {
        let line = format!("the calls of the policy are being recorded policy=\"{policy}\"");
        running.log().contains(&line).then_some(())
    });
    child
}

/// Ends a recording, and returns its output and the file.
fn end(running: &Running, policy: &str, child: Child) -> (Value, String) {
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args(["-s", "INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let file = running.setup().dir().join(format!("recorded/{policy}.toml"));
    (report, std::fs::read_to_string(file).unwrap_or_default())
}

#[test]
fn the_credential_of_a_caller_in_an_argument_is_in_no_recording() {
    let setup = Setup::new();
    setup.config(
        "",
        "[upstreams.own]\nown_tools = true\n\
         [policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
         [policies.rules]\nkind = 'rbac'\n[policies.rules.config.roles.user]\nallow = ['*']\n\
         [[policies.rules.config.conditions]]\non = 'echo'\nargument = '/text'\nmatches = '*'\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['rules']\n",
    );
    let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
    let running = setup.serve();
    let recordings = ["keys", "rules"].map(|policy| (policy, record(&running, policy)));
    let hex: String = key.bytes().map(|byte| format!("{byte:02X}")).collect();
    let texts = [
        "harmless".to_owned(),
        key.clone(),
        format!("Bearer {key}"),
        json!({ "headers": { "X-API-Key": key } }).to_string(),
        STANDARD.encode(format!("user:{key}")),
        hex,
    ];
    // The search for credentials refuses those that are verbatim. Others reach the policies.
    let statuses = [200, 400, 400, 400, 200, 200];
    for (text, status) in texts.iter().zip(statuses) {
        let params = json!({ "name": "echo", "arguments": { "text": text } });
        let call =
            Request::stateless(&running.address(), "/mcp", "tools/call", params).with("X-API-Key", &key);
        assert_eq!(call.send().status, status, "{text}");
    }
    // As JSON may write it: `wg_` with an escape in it.
    let escaped = key.replacen('_', "\\u005f", 1);
    let params = json!({ "name": "echo", "arguments": { "text": "PLACE" } });
    let request =
        Request::stateless(&running.address(), "/mcp", "tools/call", params).with("X-API-Key", &key);
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "echo", "arguments": { "text": "PLACE" }, "_meta": witgate_tests::wire::meta() } });
    let body = body.to_string().replace("PLACE", &escaped);
    assert_eq!(request.body(body).send().status, 400);
    // In the name of what is called.
    let params = json!({ "name": key, "arguments": {} });
    Request::stateless(&running.address(), "/mcp", "tools/call", params).with("X-API-Key", &key).send();
    let twice = escaped.replace('\\', "\\\\");
    for (policy, recording) in recordings {
        let (report, text) = end(&running, policy, recording);
        let lower = text.to_ascii_lowercase();
        let traces = texts.iter().skip(1).chain([&key, &escaped, &twice]);
        for trace in traces {
            assert!(!lower.contains(&trace.to_ascii_lowercase()), "{policy}: {trace} is in\n{text}");
        }
        assert!(!lower.contains(&key[3..].to_ascii_lowercase()), "{policy}: the key is in\n{text}");
        assert!(text.contains("echo"), "{policy}: what is harmless is recorded: {report}\n{text}");
        let left_out: u64 =
            report["left_out"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        let expected = if policy == "rules" { 2 } else { 1 };
        assert_eq!(left_out, expected, "{policy}: {report}\n{text}");
    }
}

/// The policy of the argument gets its value, and no policy gets what the server gets in its place.
#[test]
fn the_credential_in_a_declared_argument_is_in_no_recording() {
    let own = "the-key-that-only-the-server-knows";
    let setup = Setup::new().env("SERVER_KEY", own);
    setup.config(
        "",
        "[upstreams.own]\nown_tools = true\n\
         [policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
         argument = { name = 'auth_token', inject = { env = 'SERVER_KEY' } }\n\
         [policies.rules]\nkind = 'rbac'\n[policies.rules.config.roles.user]\nallow = ['*']\n\
         [[policies.rules.config.conditions]]\non = 'echo'\nargument = '/text'\nmatches = '*'\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['rules']\nanonymous = { lists = ['*'] }\n",
    );
    let key = setup.key(&["user", "--role", "user"]);
    let running = setup.serve();
    let recordings = ["keys", "rules"].map(|policy| (policy, record(&running, policy)));
    for credential in [key.as_str(), "a-wrong-key-of-somebody-else"] {
        let params = json!({ "name": "echo", "arguments": { "auth_token": credential, "text": "harmless" } });
        Request::stateless(&running.address(), "/mcp", "tools/call", params).send();
    }
    for (policy, recording) in recordings {
        let (report, text) = end(&running, policy, recording);
        assert!(text.contains("echo"), "{policy}: {report}\n{text}");
        for secret in [&key[4..], own, "a-wrong-key-of-somebody-else"] {
            assert!(!text.contains(secret), "{policy}: {secret} is in\n{text}");
        }
    }
}
