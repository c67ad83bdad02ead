//! The metrics, compared with their page, and under callers that make names up.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::Stdio;

use serde_json::json;
use witgate_tests::gateway::{Setup, await_some, workspace};
use witgate_tests::wire::Request;

use super::Observed;

/// A metric: its type, its unit, and the names of its labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Metric {
    kind: String,
    unit: String,
    labels: BTreeSet<String>,
}

/// The page has every metric that is exported, and no other, with type, unit and labels.
#[test]
fn the_page_lists_exactly_the_exported_metrics() {
    let settings = "[audit]\ndirectory = \"audit\"\n[limits.calls]\nrate = \"1000/s\"\n\
                    [upstreams.own]\nown_tools = true\npath = '/mcp'\n[upstreams.child]\ncommand = ['cat']\n\
                    apis = { API = { to = 'https://api.example.com', credential = 'api' } }\n\
                    [credentials.api]\nkind = 'static'\nvalue = { file = 'absent', optional = true }";
    let setup = Setup::new();
    setup.config("", "[accounts]\n[upstreams.own]\nown_tools = true");
    let mut add = setup.command(&["user", "add", "ada", "--accounts", "--password-stdin"]);
    let mut add = add.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    add.stdin.take().unwrap().write_all(b"correct horse battery").unwrap();
    assert!(add.wait().unwrap().success());
    let observed = Observed::start_in(setup, &format!("[accounts]\n{settings}"));
    observed.call("no-such-tool");
    observed.request("tools/list", json!({})).send();
    let (exported, documented) = (exported(&observed.metrics()), documented());
    let untold: Vec<_> = exported.keys().filter(|name| !documented.contains_key(*name)).collect();
    let gone: Vec<_> = documented.keys().filter(|name| !exported.contains_key(*name)).collect();
    assert!(untold.is_empty(), "docs/telemetry.md says nothing on {untold:?}");
    assert!(gone.is_empty(), "docs/telemetry.md has what is not exported: {gone:?}");
    for (name, exported) in exported {
        let documented = &documented[&name];
        assert_eq!((&exported.kind, &exported.unit), (&documented.kind, &documented.unit), "{name}");
        // A metric without a value yet shows no labels.
        assert!(
            exported.labels.is_empty() || exported.labels == documented.labels,
            "{name} has {:?}, and the page {:?}",
            exported.labels,
            documented.labels
        );
    }
}

/// The names of methods, tools and codes that callers make up create no series.
#[test]
fn made_up_names_create_no_series() {
    let observed = Observed::start("[upstreams.own]\nown_tools = true");
    let provoke = |number: usize| {
        observed.call(&format!("made-up-{number}"));
        observed.request(&format!("made/up-{number}"), json!({})).send();
        observed.request("resources/read", json!({ "uri": format!("made://up/{number}") })).send();
        observed.request("prompts/get", json!({ "name": format!("made-up-{number}") })).send();
        let address = observed.gateway.address();
        Request::post(&address, "/mcp", format!(r#"{{"jsonrpc":"2.0","method":"{number}"#)).send();
        Request::stateless(&address, "/mcp", "tools/list", json!({}))
            .with("X-API-Key", &format!("wgk_{number}"))
            .send();
    };
    provoke(0);
    let before = series(&observed.metrics());
    (1..50).for_each(provoke);
    let text = observed.metrics();
    assert_eq!(series(&text), before);
    for name in ["made-up", "made/up", "made:"] {
        assert!(!text.contains(name), "{name} is in the metrics");
    }
    let other = text.lines().find(|line| {
        line.starts_with("mcp_server_operation_duration_seconds_count") && line.contains("_OTHER")
    });
    assert!(other.is_some(), "{text}");
}

/// An operation of a tool, with the decision of its audit record as the exemplar.
#[test]
fn an_exemplar_leads_to_the_audit() {
    let observed = Observed::start("[upstreams.own]\nown_tools = true");
    observed.request("tools/list", json!({})).send();
    let text = observed.metrics();
    for side in ["server", "client"] {
        let name = format!("mcp_{side}_operation_duration_seconds_bucket");
        let line = text.lines().find(|line| line.starts_with(&name) && line.contains(" # {decision="));
        let line = line.unwrap_or_else(|| panic!("no exemplar of {name} in {text}"));
        assert!(line.contains("mcp_method_name=\"tools/list\"") && !line.contains("error_type"), "{line}");
        let decision = line.split("decision=\"").nth(1).unwrap().split('"').next().unwrap();
        observed.gateway.await_log(&format!("decision=\"{decision}\""));
    }
}

/// A verdict about a credential is given once, and used again for the same call. A built-in for keys is asked each time,
/// because it takes no longer.
#[test]
fn verdicts_that_are_used_again_are_counted() {
    let upstream = "[upstreams.own]\nown_tools = true";
    let builtin = Observed::start(upstream);
    (0..3).for_each(|_| _ = builtin.call("one"));
    assert!(!builtin.metrics().contains("cache=\"verdicts\""), "{}", builtin.metrics());
    let setup = Setup::new();
    setup.component("api-key");
    let observed = Observed::start_with(setup, upstream, "component = 'plugins/api-key.wasm'\n");
    let lookups = |result: &str| {
        let text = observed.metrics();
        let labels = format!("cache=\"verdicts\",result=\"{result}\"");
        let line = text.lines().find(|line| line.contains(&labels)).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
    };
    assert_eq!(lookups("hit"), None);
    (0..3).for_each(|_| _ = observed.call("one"));
    assert_eq!((lookups("hit"), lookups("miss")), (Some(2), Some(0)), "{}", observed.metrics());
    observed.call("another");
    assert_eq!((lookups("hit"), lookups("miss")), (Some(2), Some(1)));
}

/// A session of the stateful era and its child are counted for as long as they exist.
#[test]
fn sessions_and_children_are_counted() {
    let observed = Observed::start("[upstreams.own]\nown_tools = true");
    let value = |name: &str| {
        let text = observed.metrics();
        let line = text.lines().find(|line| line.starts_with(&format!("{name}{{upstream=\"own\"}}")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!((value("witgate_sessions"), value("witgate_children")), ("0".to_owned(), "0".to_owned()));
    let address = observed.gateway.address();
    let client = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" }
    });
    let opened =
        Request::stateful(&address, "/mcp", "initialize", client).with("X-API-Key", &observed.key).send();
    let session = opened.header("Mcp-Session-Id").unwrap().to_owned();
    assert_eq!((value("witgate_sessions"), value("witgate_children")), ("1".to_owned(), "1".to_owned()));
    let closed = Request::new("DELETE", &address, "/mcp")
        .with("X-API-Key", &observed.key)
        .with("Mcp-Session-Id", &session)
        .with("MCP-Protocol-Version", "2025-11-25")
        .send();
    assert_eq!(closed.status, 200, "{closed:?}");
    await_some("the end of the child", || {
        (value("witgate_sessions") == "0" && value("witgate_children") == "0").then_some(())
    });
    for side in ["server", "client"] {
        assert_eq!(value(&format!("mcp_{side}_session_duration_seconds_count")), "1", "{side}");
    }
}

/// The number of samples of each metric.
fn series(text: &str) -> BTreeMap<String, usize> {
    let mut series = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        *series.entry(name.to_owned()).or_default() += 1;
    }
    series
}

fn exported(text: &str) -> BTreeMap<String, Metric> {
    let mut metrics = BTreeMap::<String, Metric>::new();
    let mut current = String::new();
    for line in text.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "TYPE", name, kind] => {
                assert!(!metrics.contains_key(*name), "{name} is declared twice");
                current = (*name).to_owned();
                metrics.entry(current.clone()).or_default().kind = (*kind).to_owned();
            }
            ["#", "UNIT", name, unit] => {
                metrics.get_mut(*name).unwrap().unit = (*unit).to_owned();
            }
            ["#", ..] => {}
            _ => {
                assert!(line.starts_with(&current), "{line} is not a sample of {current}");
                metrics.get_mut(&current).unwrap().labels.extend(labels(line));
            }
        }
    }
    for (name, metric) in &mut metrics {
        if name.ends_with("_bytes") {
            metric.unit = "bytes".to_owned();
        }
    }
    metrics
}

/// The names of the labels of a sample, except for the bound of a bucket.
fn labels(line: &str) -> Vec<String> {
    let sample = line.split(" # ").next().unwrap();
    let Some((_, rest)) = sample.split_once('{') else { return Vec::new() };
    let names = rest.split("=\"").filter_map(|part| part.rsplit(['"', ',', '{']).next());
    let names = names.filter(|name| !name.contains('}') && *name != "le").map(str::to_owned);
    names.collect()
}

/// The documented metrics, with their types.
pub(super) fn documented_kinds() -> impl Iterator<Item = (String, String)> {
    documented().into_iter().map(|(name, metric)| (name, metric.kind))
}

/// The rows of the tables of metrics.
fn documented() -> BTreeMap<String, Metric> {
    let page = std::fs::read_to_string(workspace().join("docs/telemetry.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `witgate_") || line.starts_with("| `mcp_"));
    let mut metrics = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, name, kind, unit, labels, meaning, _] = cells[..] else { panic!("{row} has not five cells") };
        assert!(!meaning.is_empty(), "{row}");
        let labels = labels.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let metric = Metric { kind: kind.to_owned(), unit: unit.to_owned(), labels };
        let former = metrics.insert(name.trim_matches('`').to_owned(), metric);
        assert!(former.is_none(), "{name} has two rows");
    }
    metrics
}
