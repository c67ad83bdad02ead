//! Names that forge lines or fields in the operator's log. Expected: a reader of logfmt finds one value under each
//! field, which is the name and nothing else; a cut name is marked; no character turns the line around.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, await_some};
use witgate_tests::wire::Request;

use super::testbed::Findings;

const CONFIG: &str = "[upstreams.own]\nown_tools = true\n\
    [policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
    [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n";

fn serve() -> Running {
    let setup = Setup::new().env("RUST_LOG", "warn");
    setup.config("", CONFIG);
    setup.key(&["user", "--allow", "*"]);
    setup.serve()
}

/// Calls a tool without any credential, and returns the lines of the audit about it.
fn call(running: &Running, tool: &str) -> Vec<String> {
    let lines = || {
        let log = running.log();
        log.lines().filter(|line| line.contains("witgate::audit")).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = lines().len();
    let params = json!({ "name": tool, "arguments": {} });
    let answer = Request::stateful(&running.address(), "/mcp", "tools/call", params).send();
    assert!(matches!(answer.status, 400 | 401), "{answer:?}");
    await_some("the record", || Some(lines()).filter(|lines| lines.len() > before)).split_off(before)
}

/// Parses a line as a reader of logfmt does (go-logfmt: a quoted value is a JSON string): each name with its
/// value. Words of the message have none.
fn logfmt(line: &str) -> Vec<(String, String)> {
    let mut rest = line.split_once(": ").map_or(line, |(_, fields)| fields);
    let mut found = Vec::new();
    while !rest.is_empty() {
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        rest = &rest[end..];
        if let Some(after) = rest.strip_prefix('=') {
            rest = after;
            let value = if rest.starts_with('"') {
                let mut quoted = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                let value = quoted.next().unwrap().unwrap_or_else(|error| panic!("{error} in {line}"));
                rest = &rest[quoted.byte_offset()..];
                value
            } else {
                let (value, after) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
                rest = after;
                value.to_owned()
            };
            found.push((name, value));
        }
        rest = rest.trim_start_matches(' ');
    }
    found
}

fn value<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    let mut values = fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let value = values.next();
    assert_eq!(values.next(), None, "two values under {name}: {fields:?}");
    value
}

/// True if a terminal acts on the character instead of showing it.
fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}')
}

#[test]
fn forged_fields_in_a_tool_name_stay_within_the_value_of_target() {
    let running = serve();
    let names = [
        "echo subject=root outcome=\"allowed\"",
        "echo\" subject=\"root\" outcome=\"allowed",
        "echo\\\" subject=root outcome=\\\"allowed",
        "echo\n2026-11-29T00:00:00.000000Z  INFO witgate::audit: outcome=\"allowed\" subject=\"root\"",
        "echo\u{85}outcome=\"allowed\"\u{2028}subject=root",
        "\u{202e}toor=tcejbus\u{2066}\u{feff}\u{200b}\u{e0041}\u{fe0f}\u{ad}",
    ];
    let mut findings = Findings::default();
    for name in names {
        let lines = call(&running, name);
        let [line] = lines.as_slice() else {
            findings.add(format!("{name:?} makes {} lines: {lines:?}", lines.len()));
            continue;
        };
        let fields = logfmt(line);
        let found = ["outcome", "subject", "target", "cut"].map(|field| value(&fields, field));
        // A name that the parser refuses is no target.
        let right = match found[0] {
            Some("malformed") => [Some("malformed"), None, None, None],
            _ => [Some("no-credential"), None, Some(name), None],
        };
        if found != right || line.chars().any(hides) {
            findings.add(format!("{name:?} is read as {found:?} in {line:?}"));
        }
    }
    findings.report();
}

#[test]
fn a_shortened_name_shows_both_ends_its_length_and_a_digest() {
    let running = serve();
    let name = format!("docs/{}/../../secret", "a".repeat(6000));
    let lines = call(&running, &name);
    let line = &lines[0];
    let fields = logfmt(line);
    let target = value(&fields, "target").unwrap();
    assert!(target.starts_with("docs/aaa") && target.ends_with("/../../secret"), "{target}");
    assert!(target.contains('…') && line.len() <= 4096, "{line}");
    let digest = digest(&SHA256, name.as_bytes());
    let hex: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(value(&fields, "cut").unwrap(), format!("target {} bytes sha256:{hex}", name.len()));
}

#[test]
fn log_lines_of_an_upstream_forge_no_field() {
    let setup = Setup::new();
    let text = "done outcome=\\\"allowed\\\" subject=root \u{202e}x\u{2028}y";
    setup.config(
        "",
        &format!(
            "[upstreams.loud]\ncommand = ['sh', '-c', \"printf '%s\\\\n' '{text}' >&2; exec cat\"]\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n"
        ),
    );
    let key = setup.key(&["user", "--allow", "*"]);
    let running = setup.serve();
    let params = json!({ "name": "echo", "arguments": {} });
    Request::stateless(&running.address(), "/mcp", "tools/call", params).bearer(&key).send();
    let log = running.await_log("subject=root");
    for line in log.lines().filter(|line| line.contains("subject=root")) {
        let fields = logfmt(line);
        assert_eq!(["outcome", "subject"].map(|field| value(&fields, field)), [None, None], "{line}");
        assert!(!line.chars().any(hides), "{line:?}");
    }
}

#[test]
fn a_key_name_with_bidirectional_controls_is_refused_and_escaped_in_an_old_store() {
    let setup = Setup::new();
    setup.config("", CONFIG);
    let output = setup.run(&["key", "create", "nimda\u{202e}", "--allow", "*"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && message.contains("U+202E") && !message.contains('\u{202e}'),
        "{message}"
    );
    setup.key(&["ada", "--allow", "*"]);
    let store = setup.dir().join("keys.toml");
    let text = std::fs::read_to_string(&store).unwrap().replace("\"ada\"", "\"ada\u{202e}nimda\u{200b}\"");
    std::fs::write(&store, text).unwrap();
    for arguments in
        [&["key", "list"][..], &["key", "list", "--json"], &["key", "revoke", "ada\u{202e}nimda\u{200b}"]]
    {
        let listed = setup.run(arguments);
        assert!(listed.status.success(), "{listed:?}");
        let message = [listed.stdout, listed.stderr].concat();
        let message = String::from_utf8(message).unwrap();
        let mark = if arguments.contains(&"--json") {
            "ada\\u202enimda\\u200b"
        } else {
            "ada\\u{202e}nimda\\u{200b}"
        };
        assert!(message.contains(mark) && !message.contains(['\u{202e}', '\u{200b}']), "{message}");
    }
    let listed = setup.run(&["key", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed[0]["name"], "ada\u{202e}nimda\u{200b}", "a program reads the name as it is");
}
