//! Runs cases against their components, several at once, and passes the results on in the order of the cases.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::comparison::Difference;
use super::find::Suites;
use crate::cli::outcome::CommandFailure;
use witgate_base::provenance::Provenance;
use witgate_cases::{Case, Report, TestSubject};
use witgate_component::load::Loader;
use witgate_policy::describe_component;

/// The result of a run.
pub(super) struct PlayResult {
    pub(super) cases: Vec<PlayedCase>,
}

/// The result of one case.
pub(super) struct PlayedCase {
    /// Its file.
    pub(super) file: PathBuf,
    /// The case in that file.
    pub(super) case: Case,
    pub(super) report: Report,
    /// The differences to the other component.
    pub(super) differences: Vec<Difference>,
}

impl PlayResult {
    /// True if every case passed and the other component never differed.
    pub(super) fn passed(&self) -> bool {
        self.cases.iter().all(|case| case.report.passed() && case.differences.is_empty())
    }
}

/// Plays all cases. Each result is passed on as soon as all earlier ones are.
pub(super) async fn play(
    suites: &Suites,
    loader: &Arc<Loader>,
    at_once: usize,
    report_case: impl Fn(&PlayedCase),
) -> Result<PlayResult, CommandFailure> {
    for cast in &suites.suites {
        for subject in [Some(&cast.subject), cast.against.as_ref()].into_iter().flatten() {
            look_at(subject, loader).await?;
        }
    }
    let jobs = suites.suites.iter().flat_map(|cast| {
        cast.suite.cases.iter().map(|case| PlayJob {
            loader: Arc::clone(loader),
            file: cast.suite.path.clone(),
            dir: cast.suite.dir().into(),
            case: case.clone(),
            subject: cast.subject.clone(),
            against: cast.against.clone(),
        })
    });
    let mut done = stream::iter(jobs.map(|job| tokio::spawn(job.play()))).buffered(at_once);
    let mut cases = Vec::new();
    while let Some(case) = done.next().await {
        let case = case
            .map_err(|error| CommandFailure::new(format!("a case ended in a panic of the host: {error}")))?;
        report_case(&case);
        cases.push(case);
    }
    Ok(PlayResult { cases })
}

/// Loads the component once, so that a file that cannot be loaded is reported once and not for each case.
async fn look_at(subject: &TestSubject, loader: &Loader) -> Result<(), CommandFailure> {
    let Some(path) = &subject.component else { return Ok(()) };
    let loaded = loader
        .load(path, &Provenance::default())
        .await
        .map_err(|error| CommandFailure::new(error.to_string()))?;
    let described = describe_component(loader.engine(), &loaded).await;
    described.map(drop).map_err(|error| CommandFailure::new(format!("{}: {error}", path.display())))
}

struct PlayJob {
    loader: Arc<Loader>,
    file: PathBuf,
    dir: Arc<Path>,
    case: Case,
    subject: TestSubject,
    against: Option<TestSubject>,
}

impl PlayJob {
    async fn play(self) -> PlayedCase {
        let Self { loader, file, dir, case, subject, against } = self;
        let report = subject.put(&loader, &dir, &case).await;
        let differences = match against {
            Some(other) => super::comparison::differences(&report, &other.put(&loader, &dir, &case).await),
            None => Vec::new(),
        };
        PlayedCase { file, case, report, differences }
    }
}
