//! The alert rules and the dashboard in `deploy/`, with the real Prometheus.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use witgate_tests::gateway::{await_some, free_port, workspace};
use witgate_tests::wire::Request;

use super::Observed;

fn deploy(file: &str) -> PathBuf {
    workspace().join("deploy").join(file)
}

/// Runs `promtool`. `cargo xtask tools` installs it.
fn promtool(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("promtool").args(arguments).output();
    let output =
        output.expect("promtool is missing: run `cargo xtask tools`, or install Debian's `prometheus`");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stdout) + &text(&output.stderr))
    }
}

/// The names of the alerts in `text`, where `marker` precedes each.
fn names(text: &str, marker: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.trim().strip_prefix(marker)).map(str::to_owned).collect()
}

#[test]
fn every_alert_has_a_test_that_passes_and_a_section_in_the_runbook() {
    let (rules, tests) =
        (deploy("prometheus/witgate-alerts.yml"), deploy("prometheus/witgate-alerts.test.yml"));
    promtool(&["check", "rules", rules.to_str().unwrap()]).unwrap();
    promtool(&["test", "rules", tests.to_str().unwrap()]).unwrap();
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    let alerts = names(&read(&rules), "- alert: ");
    assert!(alerts.len() > 10, "{alerts:?}");
    let cases = read(&tests);
    for alert in &alerts {
        for end in ["fires", "stays quiet"] {
            assert!(cases.contains(&format!("- name: {alert} {end}\n")), "no case in which {alert} {end}");
        }
        let anchor = format!("runbook: docs/runbook.md#{}\n", alert.to_lowercase());
        assert!(read(&rules).contains(&anchor), "{alert} does not name its section of the runbook");
    }
    let runbook = read(&workspace().join("docs/runbook.md"));
    assert_eq!(names(&runbook, "### "), alerts);
    for section in runbook.split("\n### ").skip(1) {
        for part in ["\n- **Meaning.** ", "\n- **Look at** ", "\n- **Do.** "] {
            assert!(section.contains(part), "{part:?} is missing in the section {section}");
        }
    }
}

/// A rule that is changed fails its test: the cases are not empty.
#[test]
fn the_cases_notice_a_changed_rule() {
    let folder = TempDir::new().unwrap();
    let rules = std::fs::read_to_string(deploy("prometheus/witgate-alerts.yml")).unwrap();
    let cases = std::fs::read_to_string(deploy("prometheus/witgate-alerts.test.yml")).unwrap();
    let test = folder.path().join("witgate-alerts.test.yml");
    std::fs::write(&test, cases).unwrap();
    for (from, to) in
        [("> 0.05", "> 0.5"), ("== 0\n", "== 2\n"), ("for: 2m", "for: 20m"), ("< 7 *", "< 70 *")]
    {
        assert!(rules.contains(from), "{from}");
        std::fs::write(folder.path().join("witgate-alerts.yml"), rules.replace(from, to)).unwrap();
        promtool(&["test", "rules", test.to_str().unwrap()]).expect_err(from);
    }
}

/// A Prometheus that scrapes one gateway and evaluates the alert rules. It is killed when this value is dropped.
struct Prometheus {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Prometheus {
    fn of(observed: &Observed) -> Self {
        let folder = TempDir::new().unwrap();
        let admin = observed.gateway.admin_url();
        let config = json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": [deploy("prometheus/witgate-alerts.yml")],
            "scrape_configs": [{
                "job_name": "witgate",
                "static_configs": [{ "targets": [admin.trim_start_matches("http://")] }]
            }]
        });
        // JSON is YAML.
        std::fs::write(folder.path().join("prometheus.yml"), config.to_string()).unwrap();
        promtool(&["check", "config", folder.path().join("prometheus.yml").to_str().unwrap()]).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new("prometheus")
            .current_dir(folder.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .args(["--enable-feature=exemplar-storage", &format!("--web.listen-address={address}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address, _folder: folder }
    }

    /// The data of an answer of Prometheus's own interface.
    fn ask(&self, path: &str) -> Option<Value> {
        let answer = std::panic::catch_unwind(|| Request::new("GET", &self.address, path).send()).ok()?;
        (answer.status == 200)
            .then(|| answer.messages().first().map(|message| message["data"].clone()).unwrap_or_default())
    }

    /// The result of a query, which `promtool` parses and sends.
    fn query(&self, query: &str) -> String {
        let url = format!("http://{}", self.address);
        promtool(&["query", "instant", &url, query]).unwrap_or_else(|fault| panic!("{query}: {fault}"))
    }
}

/// The expressions of the dashboard, with its variables filled in.
fn dashboard_queries() -> Vec<String> {
    let text = std::fs::read_to_string(deploy("grafana/witgate.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    let written = targets.chain(annotations).map(|target| target["expr"].as_str().unwrap());
    written
        .map(|query| {
            query.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$upstream", ".*")
        })
        .collect()
}

/// The names of metrics in a query: words with this prefix.
fn metrics_in(query: &str) -> BTreeSet<String> {
    let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("witgate_") || word.starts_with("mcp_")).map(str::to_owned).collect()
}

/// The names of the series of the documented metrics, as in a scrape.
fn documented_series() -> BTreeSet<String> {
    let series = super::metrics::documented_kinds().flat_map(|(name, kind)| {
        let ends: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => &[""],
        };
        ends.iter().map(|end| format!("{name}{end}")).collect::<Vec<_>>()
    });
    series.collect()
}

/// A misspelt name is a valid query without a value.
#[test]
fn queries_and_alerts_name_documented_metrics() {
    let rules = std::fs::read_to_string(deploy("prometheus/witgate-alerts.yml")).unwrap();
    // The labels of metrics have other names, except for those that end in `_name`.
    let known = documented_series();
    assert!(
        known.contains("witgate_audit_lag_seconds") && known.contains("witgate_spans_total"),
        "{known:?}"
    );
    for query in dashboard_queries().iter().map(String::as_str).chain(rules.lines()) {
        let unknown: Vec<_> = metrics_in(query)
            .into_iter()
            .filter(|name| name != "mcp_method_name" && !known.contains(name))
            .collect();
        assert!(unknown.is_empty(), "docs/telemetry.md has no {unknown:?}: {query}");
    }
}

#[test]
fn a_real_prometheus_takes_metrics_rules_and_the_queries_of_the_dashboard() {
    let observed = Observed::start("[upstreams.own]\nown_tools = true");
    let call = || {
        observed.request("tools/list", json!({})).send();
        observed.call("no-such-tool");
    };
    call();
    let prometheus = Prometheus::of(&observed);
    await_some("two scrapes", || {
        call();
        let scrapes = prometheus.ask("/api/v1/query?query=count_over_time(up%5B1m%5D)")?;
        (scrapes["result"][0]["value"][1].as_str()?.parse::<u64>().ok()? >= 2).then_some(())
    });
    let targets = prometheus.ask("/api/v1/targets").unwrap();
    assert_eq!(targets["activeTargets"][0]["health"], "up", "{targets}");
    assert_eq!(targets["activeTargets"][0]["lastError"], "", "{targets}");

    let queries = dashboard_queries();
    assert!(queries.len() > 40, "{queries:?}");
    for query in &queries {
        assert!(!query.contains('$'), "{query} has an unknown variable");
        prometheus.query(query);
    }
    for metric in [
        "mcp_server_operation_duration_seconds_count{mcp_method_name=\"tools/list\", error_type=\"\"}",
        "mcp_client_operation_duration_seconds_count{mcp_method_name=\"tools/call\"}",
        "witgate_policy_duration_seconds_count{policy=\"rules\", hook=\"authorize\", form=\"builtin\"}",
        "witgate_gateway_overhead_seconds_count{upstream=\"own\"}",
        "witgate_messages_total{outcome=\"allowed\"}",
    ] {
        assert!(prometheus.query(metric).contains("=> "), "{metric} has no value");
    }

    let rules = await_some("an evaluation of all rules", || {
        let rules = prometheus.ask("/api/v1/rules")?["groups"][0]["rules"].as_array()?.clone();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    });
    assert!(rules.iter().all(|rule| rule["health"] == "ok"), "{rules:?}");
    let firing: Vec<_> = rules.iter().filter(|rule| rule["state"] != "inactive").collect();
    assert!(firing.is_empty(), "{firing:?}");

    let exemplars =
        "/api/v1/query_exemplars?query=mcp_server_operation_duration_seconds_bucket&start=0&end=9999999999";
    let exemplars = prometheus.ask(exemplars).unwrap();
    let decision = exemplars[0]["exemplars"][0]["labels"]["decision"].as_str().unwrap_or_default();
    assert_eq!(decision.len(), 32, "{exemplars}");
}
