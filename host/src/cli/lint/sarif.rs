//! The findings in the Static Analysis Results Interchange Format (SARIF 2.1.0, OASIS).

use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use url::Url;

use super::catalogue::{CHECKS, LintResult};
use super::finding::{LintCheck, LintFinding};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The characters to escape in a path that becomes a relative reference (RFC 3986, section 3.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The log of one run. Accepted findings are in it as suppressed results.
pub(super) fn sarif(result: &LintResult, notes: &[String]) -> Value {
    let remaining = result.remaining.iter().map(|(check, finding)| result_of(check, finding, false));
    let accepted = result.accepted.iter().map(|(check, finding)| result_of(check, finding, true));
    let notes = notes.iter().map(|note| json!({ "level": "note", "message": { "text": note } }));
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "witgate lint",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": CHECKS.iter().map(rule).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": true,
                "toolExecutionNotifications": notes.collect::<Vec<_>>(),
            }],
            "results": remaining.chain(accepted).collect::<Vec<_>>(),
        }],
    })
}

fn rule(check: &LintCheck) -> Value {
    json!({
        "id": check.code.name(),
        "shortDescription": { "text": check.title },
        "fullDescription": { "text": check.why },
        "help": { "text": format!("docs/lint.md describes `{}`.", check.code) },
        "defaultConfiguration": { "level": "warning" },
    })
}

fn result_of(check: &LintCheck, finding: &LintFinding, is_accepted: bool) -> Value {
    let mut result = json!({
        "ruleId": check.code.name(),
        "ruleIndex": CHECKS.iter().position(|other| other.code == check.code),
        "level": "warning",
        "message": { "text": format!("{}. To repair it: {}.", finding.remark.message(), finding.fix) },
        "locations": location(finding).into_iter().collect::<Vec<_>>(),
    });
    if let (true, Some(members)) = (is_accepted, result.as_object_mut()) {
        members.insert("suppressions".to_owned(), json!([{ "kind": "external" }]));
    }
    result
}

/// The place of a finding. None: it has no place in a file.
fn location(finding: &LintFinding) -> Option<Value> {
    let (place, (line, column)) = (finding.remark.to_json(), finding.remark.position()?);
    let file = place.get("file")?.as_str()?;
    Some(json!({ "physicalLocation": {
        "artifactLocation": { "uri": uri(Path::new(file)) },
        "region": { "startLine": line, "startColumn": column },
    } }))
}

/// A path as a reference: relative to the current directory if it is below it, as code hosts need it.
fn uri(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let path = here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    let absolute = path.is_absolute().then(|| Url::from_file_path(path).ok()).flatten();
    match absolute {
        Some(url) => url.into(),
        None => utf8_percent_encode(&path.display().to_string(), ESCAPED).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{scene, with_roles};
    use super::*;

    /// The members that the schema requires: section 3.13 (log), 3.14 (run), 3.18 (tool), 3.19 (component), 3.20
    /// (invocation), 3.27 (result) and 3.29 (location).
    #[test]
    fn a_log_has_the_members_that_the_format_requires() {
        let roles = with_roles("user = { allow = ['get_*', 'get_sum', 'get_rows'] }");
        let text = format!("{roles}[lint]\nallow = ['shadowed-rule:get_rows']\n");
        let log = sarif(&LintResult::of(&scene(&text)), &["a note".to_owned()]);
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        assert!(run["tool"]["driver"]["name"].is_string() && rules.len() == CHECKS.len());
        assert!(
            rules.iter().all(|rule| rule["id"].is_string() && rule["shortDescription"]["text"].is_string())
        );
        assert_eq!(run["invocations"][0]["executionSuccessful"], true);
        assert_eq!(run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"], "a note");
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 2);
        for result in results {
            let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
            assert_eq!((&result["ruleId"], &result["level"]), (&rule["id"], &json!("warning")));
            assert!(result["message"]["text"].as_str().unwrap().contains("changes nothing"));
            let place = &result["locations"][0]["physicalLocation"];
            assert!(place["artifactLocation"]["uri"].as_str().unwrap().starts_with("file:///"), "{place}");
            assert_eq!(place["region"]["startLine"], 9);
            assert!(place["region"]["startColumn"].as_u64().unwrap() > 1);
        }
        let suppressed: Vec<_> = results.iter().map(|result| result["suppressions"].is_array()).collect();
        assert_eq!(suppressed, [false, true]);
    }

    #[test]
    fn a_path_becomes_a_reference() {
        assert_eq!(uri(Path::new("a b/witgate.toml")), "a%20b/witgate.toml");
        assert_eq!(uri(Path::new("/etc/wit gate.toml")), "file:///etc/wit%20gate.toml");
        let here = std::env::current_dir().unwrap().join("conf/witgate.toml");
        assert_eq!(uri(&here), "conf/witgate.toml");
    }
}
