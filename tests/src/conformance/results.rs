//! The results of one run of the suite.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

/// The verdict on one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// The server does what the specification requires.
    Success,
    /// Not applicable to this server.
    Skipped,
    /// The server violates a SHOULD.
    Warning,
    /// The server violates a MUST.
    Failure,
    /// No verdict, but an observation. Their number depends on timing.
    Info,
}

/// One check of one scenario.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Check {
    /// The scenario, as `conformance list` names it.
    pub scenario: String,
    /// The check; the second and later ones of a name carry `#2`, `#3`… in the order they ran.
    pub id: String,
    /// The verdict, never [`Status::Info`].
    pub status: Status,
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Success => "SUCCESS",
            Self::Skipped => "SKIPPED",
            Self::Warning => "WARNING",
            Self::Failure => "FAILURE",
            Self::Info => "INFO",
        })
    }
}

/// Reads every `<directory>/server-<scenario>-<time>/checks.json`, sorted.
pub(super) fn read(directory: &Path) -> anyhow::Result<Vec<Check>> {
    let mut checks = Vec::new();
    for path in children(directory)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let scenario = scenario(&name).with_context(|| format!("{name} is not a result of the suite"))?;
        let file = path.join("checks.json");
        let json =
            fs::read_to_string(&file).with_context(|| format!("{scenario} left no {}", file.display()))?;
        checks.extend(parse(scenario, &json).with_context(|| file.display().to_string())?);
    }
    ensure!(!checks.is_empty(), "no results in {}", directory.display());
    checks.sort();
    if let Some([check, _]) =
        checks.array_windows().find(|[a, b]| (&a.scenario, &a.id) == (&b.scenario, &b.id))
    {
        bail!("{} ran twice into {}", check.scenario, directory.display());
    }
    Ok(checks)
}

fn children(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// `ping` from `server-ping-2026-11-21T01-45-44-536Z`.
fn scenario(directory: &str) -> Option<&str> {
    const TIME: usize = "-2026-11-21T01-45-44-536Z".len();
    let name = directory.strip_prefix("server-")?;
    let (scenario, time) = name.split_at_checked(name.len().checked_sub(TIME)?)?;
    (time.starts_with('-') && time.ends_with('Z')).then_some(scenario)
}

fn parse(scenario: &str, json: &str) -> anyhow::Result<Vec<Check>> {
    #[derive(Deserialize)]
    struct Entry {
        id: String,
        status: Status,
    }

    let entries: Vec<Entry> = serde_json::from_str(json)?;
    let mut seen = BTreeMap::new();
    let verdicts = entries.into_iter().filter(|entry| entry.status != Status::Info);
    let checks = verdicts.map(|entry| {
        let times: &mut u32 = seen.entry(entry.id.clone()).or_default();
        *times += 1;
        Check {
            scenario: scenario.to_owned(),
            id: match times {
                1 => entry.id,
                n => format!("{}#{n}", entry.id),
            },
            status: entry.status,
        }
    });
    Ok(checks.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_directory_is_its_scenario() {
        let name = "server-server-sse-polling-2026-11-21T01-45-46-746Z";
        assert_eq!(scenario(name), Some("server-sse-polling"));
        assert_eq!(scenario("server-ping"), None);
        assert_eq!(scenario("ping-2026-11-21T01-45-46-746Z"), None);
    }

    #[test]
    fn repeated_checks_are_numbered_and_observations_omitted() {
        let json = r#"[
            {"id": "seen", "status": "INFO"},
            {"id": "same", "status": "SUCCESS", "details": {}},
            {"id": "other", "status": "SKIPPED"},
            {"id": "same", "status": "FAILURE", "errorMessage": "no"}
        ]"#;
        let found: Vec<_> =
            parse("s", json).unwrap().into_iter().map(|check| (check.id, check.status)).collect();
        let expected = [("same", Status::Success), ("other", Status::Skipped), ("same#2", Status::Failure)];
        assert_eq!(found, expected.map(|(id, status)| (id.to_owned(), status)));
    }

    #[test]
    fn an_unknown_status_is_an_error() {
        assert!(parse("s", r#"[{"id": "a", "status": "MAYBE"}]"#).is_err());
    }

    #[test]
    fn a_run_is_read_once_and_sorted() {
        let run = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let directory = run.path().join(name);
            fs::create_dir(&directory).unwrap();
            let json = r#"[{"id": "b", "status": "SUCCESS"}, {"id": "a", "status": "WARNING"}]"#;
            fs::write(directory.join("checks.json"), json).unwrap();
        };
        assert!(read(run.path()).is_err(), "nothing ran");
        write("server-ping-2026-11-21T01-45-44-536Z");
        let ids: Vec<_> = read(run.path()).unwrap().into_iter().map(|check| check.id).collect();
        assert_eq!(ids, ["a", "b"]);
        write("server-ping-2026-11-21T01-45-45-536Z");
        assert!(read(run.path()).is_err(), "ping ran twice");
    }
}
