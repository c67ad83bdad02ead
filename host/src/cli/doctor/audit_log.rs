//! The directory of the audit log: whether it can be written, has space, and ends as it was written.

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};

use super::finding::CheckFinding;
use super::installation::Installation;
use witgate_audit::verify::{LogVerdict, verify_last_segment};
use witgate_audit::{PUBLIC_KEY_FILE, public_keys};
use witgate_config::{Audit, AuditOverflow};

/// The free space below which it is a warning: a few days of a busy gateway.
const FEW: u64 = 1 << 30;

/// The free space below which a log may stop within minutes.
const TOO_FEW: u64 = 64 << 20;

pub(super) fn examine(installation: &Installation) -> Vec<CheckFinding> {
    let Some(audit) = &installation.config.audit else { return Vec::new() };
    let place = installation.place(&["audit", "directory"]);
    let directory = audit.directory.as_path();
    let existing = directory.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let mut findings = Vec::new();
    findings.extend(unwritable(audit, existing));
    findings.extend(full(audit, existing));
    findings.extend(altered(directory));
    if findings.is_empty() {
        let made =
            if directory.exists() { "can be written, has space, and ends intact" } else { "can be made" };
        findings.push(CheckFinding::pass(format!("{} {made}", directory.display())));
    }
    findings
        .into_iter()
        .map(|finding| if finding.fix.is_some() { finding.at(place.clone()) } else { finding })
        .collect()
}

/// The consequence of entries that cannot be written.
fn consequence(audit: &Audit) -> &'static str {
    match audit.unavailable {
        AuditOverflow::Deny => "while entries cannot be written, every call is denied",
        AuditOverflow::Count => "while entries cannot be written, calls leave no trace there",
    }
}

fn unwritable(audit: &Audit, existing: &Path) -> Option<CheckFinding> {
    let error = accessat(CWD, existing, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).err()?;
    Some(
        CheckFinding::fail(format!("{} cannot be written: {error}", existing.display()))
            .because(consequence(audit))
            .fix("give the directory to the user who runs Witgate, or name another one"),
    )
}

fn full(audit: &Audit, existing: &Path) -> Option<CheckFinding> {
    let disk = statvfs(existing).ok()?;
    of_space(audit, disk.f_bavail.saturating_mul(disk.f_frsize), existing)
}

fn of_space(audit: &Audit, free: u64, existing: &Path) -> Option<CheckFinding> {
    let message = format!("{} MiB are free for the log in {}", free >> 20, existing.display());
    let finding = match free {
        free if free < TOO_FEW => CheckFinding::fail(message),
        free if free < FEW => CheckFinding::warn(message),
        _ => return None,
    };
    Some(finding.because(consequence(audit)).fix("make room, or remove old segments by `keep_days`"))
}

/// The fault of the last segment. A new directory has none.
fn altered(directory: &Path) -> Option<CheckFinding> {
    let key = directory.join(PUBLIC_KEY_FILE);
    if !key.exists() {
        return None;
    }
    let keys = match public_keys(&key) {
        Ok(keys) => keys,
        Err(error) => {
            return Some(
                CheckFinding::fail(format!("{}: the public key cannot be used: {error}", key.display()))
                    .because("the log cannot be verified")
                    .fix("restore a copy of the file"),
            );
        }
    };
    match verify_last_segment(directory, &keys, &[]).verdict {
        LogVerdict::Intact => None,
        fault => Some(
            CheckFinding::fail(format!("the end of the log is not as it was written: {fault}"))
                .because("somebody has changed it, or a disk has lost lines; Witgate does not go on after a damaged end")
                .fix("`witgate audit verify` checks the whole log; keep a copy of the directory before anything else"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::FindingLevel;
    use super::super::installation::tests::{OPEN, installed};
    use super::*;

    #[test]
    fn a_new_directory_passes_and_is_not_made() {
        let (folder, installation) =
            installed(&format!("[audit]\ndirectory = 'log'\n[upstreams.a]\nown_tools = true\n{OPEN}"));
        let findings = examine(&installation);
        assert!(!folder.path().join("log").exists());
        assert!(findings.iter().all(|finding| finding.level != FindingLevel::Fail), "{findings:?}");
    }

    #[test]
    fn little_space_is_told_with_its_consequence() {
        let (_folder, installation) =
            installed(&format!("[audit]\ndirectory = 'log'\n[upstreams.a]\nown_tools = true\n{OPEN}"));
        let audit = installation.config.audit.as_ref().unwrap();
        let level = |free| of_space(audit, free, Path::new("/log")).map(|finding| finding.level);
        assert_eq!(level(FEW), None);
        assert_eq!(level(FEW - 1), Some(FindingLevel::Warn));
        assert_eq!(level(TOO_FEW - 1), Some(FindingLevel::Fail));
        assert!(of_space(audit, 0, Path::new("/log")).unwrap().why.unwrap().contains("every call is denied"));
    }

    #[test]
    fn a_key_that_is_none_fails() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(altered(folder.path()), None);
        std::fs::write(folder.path().join(PUBLIC_KEY_FILE), "none").unwrap();
        assert!(altered(folder.path()).unwrap().message.contains("cannot be used"));
    }
}
