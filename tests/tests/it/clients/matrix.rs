//! The table of `docs/compatibility.md`: the behaviour of each client, compared with the page.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use witgate_tests::clients::{Client, Clients, Report, Session};
use witgate_tests::gateway::{Setup, free_port, workspace};
use witgate_tests::oauth::browser;

use super::{AT_ONCE, LIMIT};

const OLDER: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// The rows: a client, its package, and the option for its era.
const ROWS: [(Client, &str, &str, &str); 12] = [
    (Client::TsClient, "`@modelcontextprotocol/client` 2.4", "legacy", OLDER),
    (Client::TsClient, "`@modelcontextprotocol/client` 2.4", MODERN, MODERN),
    (Client::TsSdk, "`@modelcontextprotocol/sdk` 1.32", "legacy", OLDER),
    (Client::PyMcp, "`mcp` 2.3 (Python)", "legacy", OLDER),
    (Client::PyMcp, "`mcp` 2.3 (Python)", MODERN, MODERN),
    (Client::PyFastmcp, "`fastmcp` 4.1", MODERN, MODERN),
    (Client::PyMcp1, "`mcp` 1.30 (Python)", "legacy", OLDER),
    (Client::PyFastmcp2, "`fastmcp` 2.14", "legacy", OLDER),
    (Client::Inspector, "`@modelcontextprotocol/inspector` 2.12", MODERN, MODERN),
    (Client::McpRemote, "`mcp-remote` 0.15", "auto", OLDER),
    (Client::Page, "a page in Chromium, `@modelcontextprotocol/client` 2.4", "legacy", OLDER),
    (Client::Page, "a page in Chromium, `@modelcontextprotocol/client` 2.4", MODERN, MODERN),
];

/// A column: where the clients connect, with which key, what they call, and what happens before the call.
struct Column {
    name: &'static str,
    path: &'static str,
    key: &'static str,
    call: (&'static str, Value),
    before: Before,
}

#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    Revocation,
    Restart,
}

fn columns() -> Vec<Column> {
    let add = || ("add", json!({ "a": 1, "b": 2 }));
    let echo = || ("echo", json!({ "message": "hi" }));
    // Without a sign of life, for longer than it takes until the event stream is opened.
    let wait = ("tell", json!({ "seconds": 12 }));
    let column = |name, path, call| Column { name, path, key: "ada", call, before: Before::Nothing };
    vec![
        column("list and call", "http", echo()),
        column("denied, `http`", "http", add()),
        column("denied, `json-rpc`", "json", add()),
        column("scopes are missing", "scopes", add()),
        column("long call", "quiet", wait),
        Column { key: "bea", before: Before::Revocation, ..column("key revoked", "http", echo()) },
        Column { before: Before::Restart, ..column("Witgate restarted", "http", echo()) },
    ]
}

/// A client's outcome, in a few words.
fn cell(report: &Report) -> String {
    let came = match &report.error {
        None if report.called.is_some() => "✓",
        None => "nothing",
        Some(failure) if failure.kind == "Timeout" || failure.message.contains("Timed out") => "hangs",
        Some(failure) if failure.reason().is_some() => "error with the reason",
        Some(failure) if failure.kind == "tool_not_found" => "not in its list",
        Some(failure) if failure.scope.is_some() => "error with the scopes",
        Some(failure) if failure.status.is_some() => "error with the status",
        Some(_) => "error",
    };
    match report.again {
        Some(false) => format!("{came}; then lost"),
        None if report.error.is_some() && report.listed.is_none() => format!("{came} at connect"),
        _ => came.to_owned(),
    }
}

fn configure(setup: &Setup, pages: [u16; 2]) {
    let own = |name: &str, more: &str| {
        format!(
            "[upstreams.{name}]\nown_tools = true\npath = \"/{name}/mcp\"\nmax_sessions_per_caller = 64\n{more}\n"
        )
    };
    let scoped = "[upstreams.scopes.pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"scoped\"]";
    let script = workspace().join("tests/tests/it/swap/environment_server.py");
    let upstreams = [
        own("http", ""),
        own("json", "denials = \"json-rpc\""),
        own("scopes", scoped),
        format!("[upstreams.quiet]\ncommand = [\"python3\", {script:?}]\npath = \"/quiet/mcp\""),
    ];
    let policies = r#"
        [policies.keys]
        kind = "api-key"
        config = { store = "keys.toml" }
        [policies.roles]
        kind = "rbac"
        config = { roles = { caller = { allow = ["echo", "tell"] } } }
        [policies.scoped]
        kind = "rbac"
        config = { roles = { caller = { allow = ["*"] } }, scopes = { "add" = ["math"] } }
        [pipeline]
        authenticate = ["keys"]
        authorize = ["roles"]
        "#;
    let origins = pages.map(|port| format!("http://127.0.0.1:{port}"));
    setup.config(&format!("allowed_origins = {origins:?}"), &format!("{}{policies}", upstreams.join("\n")));
}

async fn all_ready(go: &Path) {
    let ready = || std::fs::read_dir(go.parent().unwrap()).unwrap().count();
    let waiting = async {
        while ready() < ROWS.len() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // The test does not wait for a client that never gets there: its cell says so.
    let _ = tokio::time::timeout(LIMIT, waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compatibility_page_is_true_for_each_client() {
    let clients = Clients::installed().unwrap();
    let setup = Setup::new();
    let (browser, pages) = (browser().unwrap(), [free_port(), free_port()]);
    configure(&setup, pages);
    let keys =
        [("ada", setup.key(&["ada", "--role", "caller"])), ("bea", setup.key(&["bea", "--role", "caller"]))];
    let mut witgate = setup.serve();
    let mut cells: Vec<Vec<String>> = vec![Vec::new(); ROWS.len()];
    let columns = columns();
    for column in &columns {
        let key = &keys.iter().find(|(name, _)| *name == column.key).unwrap().1;
        let url = format!("http://{}/{}/mcp", witgate.address(), column.path);
        let folder = tempfile::tempdir().unwrap();
        let go = folder.path().join("go");
        let pause = (column.before != Before::Nothing).then_some(go.as_path());
        let run = async |(client, _, mode, _): (Client, &str, &str, &str)| {
            let (tool, arguments) = column.call.clone();
            let limit = if pause.is_some() { LIMIT * 2 } else { Duration::from_secs(40) };
            let session = Session::http(&*url).header("X-API-Key", key).mode(mode).call(tool, arguments);
            let session = match client {
                Client::Page => session.page(&browser, pages[usize::from(mode == MODERN)]),
                _ => session,
            };
            cell(&clients.run_on(client, &session.limit(limit), pause).await.unwrap())
        };
        let at_once = if pause.is_some() || column.path == "quiet" { ROWS.len() } else { AT_ONCE };
        let runs: Vec<_> = ROWS.into_iter().map(run).collect();
        let running = futures_util::stream::iter(runs).buffered(at_once).collect::<Vec<_>>();
        let happening = async {
            if pause.is_some() {
                all_ready(&go).await;
                match column.before {
                    Before::Revocation => {
                        assert!(witgate.setup().run(&["key", "revoke", column.key]).status.success());
                    }
                    Before::Restart => witgate.restart(),
                    Before::Nothing => {}
                }
                std::fs::write(&go, "").unwrap();
            }
        };
        let (found, ()) = tokio::join!(running, happening);
        for (row, cell) in cells.iter_mut().zip(found) {
            row.push(cell);
        }
    }
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let table = table(&names, &cells);
    let page = std::fs::read_to_string(workspace().join("docs/compatibility.md")).unwrap();
    assert!(page.contains(&table), "docs/compatibility.md should have:\n\n{table}");
}

fn table(columns: &[&str], cells: &[Vec<String>]) -> String {
    let head =
        format!("| client | era | {} |\n|---|---|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    let rows = ROWS.iter().zip(cells);
    let rows = rows.map(|((_, name, _, era), cells)| format!("| {name} | {era} | {} |\n", cells.join(" | ")));
    head + &rows.collect::<String>()
}
