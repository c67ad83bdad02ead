//! The configuration, with the diagnostics of `witgate check`.

use std::sync::Arc;

use super::finding::{CheckFinding, SettingPlace};
use super::installation::Installation;
use super::outcome::CheckOutcome;
use crate::cli::check::policies;
use crate::cli::terminal::counted;
use witgate_config::diagnostic::Diagnostic;

/// Builds the policies, after a configuration was read whose faults are `noticed`.
pub(super) async fn examine(installation: Arc<Installation>, noticed: Vec<Diagnostic>) -> CheckOutcome {
    let mut findings: Vec<_> = noticed.iter().map(finding).collect();
    match policies(&installation.environment, &installation.config).await {
        Ok(faults) => {
            // A policy whose settings are faulty cannot be built, either.
            let is_known =
                |fault: &&Diagnostic| !noticed.iter().any(|other| other.position() == fault.position());
            findings.extend(faults.iter().filter(is_known).map(finding));
        }
        Err(failure) => findings.push(
            CheckFinding::fail(format!("the policies cannot be built: {failure}"))
                .because("`witgate serve` does not start")
                .fix("`witgate check` repeats this"),
        ),
    }
    if findings.is_empty() {
        findings.push(CheckFinding::pass(summary(&installation)));
    }
    findings.into()
}

fn summary(installation: &Installation) -> String {
    let config = &installation.config;
    let name =
        config.path.as_ref().map_or_else(|| "the environment".to_owned(), |path| path.display().to_string());
    let policies = match config.policies.len() {
        1 => "1 policy".to_owned(),
        count => format!("{count} policies"),
    };
    format!("{name} is valid: {}, {policies}", counted(config.upstreams.len(), "upstream"))
}

/// A diagnostic as a finding.
pub(super) fn finding(diagnostic: &Diagnostic) -> CheckFinding {
    let finding = match diagnostic.is_error() {
        true => CheckFinding::fail(diagnostic.message())
            .because("`witgate serve` does not start, or closes the upstreams that need this"),
        false => CheckFinding::warn(diagnostic.message()).because("it is valid, and probably not meant"),
    };
    let place = diagnostic.place().map(|(file, line)| SettingPlace { file: file.to_owned(), line });
    let finding = finding.at(place);
    match diagnostic.advice() {
        Some(advice) => finding.fix(advice),
        None => finding.fix("correct this line"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::FindingLevel;
    use super::super::installation::tests::{OPEN, installed};
    use super::*;

    async fn examined(text: &str) -> Vec<CheckFinding> {
        let (folder, installation) = installed(text);
        let path = folder.path().join("witgate.toml");
        let (_, noticed) = Installation::load(Some(&path), &installation.environment, false).unwrap();
        examine(Arc::new(installation), noticed).await.findings
    }

    #[tokio::test]
    async fn a_valid_configuration_passes() {
        let findings = examined(&format!("[upstreams.a]\nown_tools = true\n{OPEN}")).await;
        assert_eq!(
            findings.iter().map(|one| one.level).collect::<Vec<_>>(),
            [FindingLevel::Pass],
            "{findings:?}"
        );
    }

    #[tokio::test]
    async fn a_fault_has_its_line_and_its_advice() {
        let findings = examined(&format!("[upstreams.a]\nown_tools = true\ntimeout_s = 0\n{OPEN}")).await;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].level, findings[0].place.as_ref().unwrap().line), (FindingLevel::Fail, 3));
    }
}
