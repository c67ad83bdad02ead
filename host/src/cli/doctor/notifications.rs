//! Notifications of changed files, without which a change is seen only by the check of every second.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::finding::CheckFinding;
use super::installation::Installation;
use crate::reload::watch::{UnwatchedFiles, Watcher};

/// The limits of inotify per user, and the least that leaves room for other programs.
const LIMITS: [(&str, u64); 2] = [("max_user_watches", 1024), ("max_user_instances", 16)];

pub(super) fn examine(installation: &Installation) -> Vec<CheckFinding> {
    let files = files(installation);
    if files.is_empty() {
        return Vec::new();
    }
    let mut findings = of_limits(Path::new("/proc/sys/fs/inotify"));
    findings.extend(unwatched(&files));
    if findings.is_empty() {
        findings.push(CheckFinding::pass(format!("changes of {} files are notified", files.len())));
    }
    findings
}

/// The files whose changes cause a reload.
fn files(installation: &Installation) -> BTreeSet<PathBuf> {
    let config = &installation.config;
    let mut files = config.files.paths();
    files.extend(config.policies.values().flat_map(|policy| policy.written()));
    files
}

fn unwatched(files: &BTreeSet<PathBuf>) -> Vec<CheckFinding> {
    let unwatched = UnwatchedFiles::default();
    Watcher::new(&unwatched).watch(files);
    let finding = |(file, why): (PathBuf, String)| {
        CheckFinding::warn(format!("changes of {} may bring no notification: {why}", file.display()))
            .because("Witgate sees them only by looking every second, also that of a revoked key")
            .fix("keep the file in a directory on a local file system, and mount the directory, not the file")
    };
    unwatched.all().into_iter().map(finding).collect()
}

/// The limits in a directory of the kernel. Other systems have none.
fn of_limits(directory: &Path) -> Vec<CheckFinding> {
    let limit = |(name, least): (&str, u64)| {
        let limit: u64 = std::fs::read_to_string(directory.join(name)).ok()?.trim().parse().ok()?;
        (limit < least).then(|| {
            CheckFinding::warn(format!("`fs.inotify.{name}` is {limit}"))
                .because(
                    "all programs of the user share it; without a watch, changes are seen a second later",
                )
                .fix(format!("`sysctl fs.inotify.{name}={}`", least * 8))
        })
    };
    LIMITS.into_iter().filter_map(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::FindingLevel;
    use super::super::installation::tests::{OPEN, installed};
    use super::*;

    #[test]
    fn files_on_a_disk_are_notified() {
        let (_folder, installation) = installed(&format!("[upstreams.a]\nown_tools = true\n{OPEN}"));
        assert!(unwatched(&files(&installation)).is_empty());
    }

    #[test]
    fn low_limits_are_warnings() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("max_user_watches"), "8192\n").unwrap();
        std::fs::write(folder.path().join("max_user_instances"), "2\n").unwrap();
        let findings = of_limits(folder.path());
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].level, FindingLevel::Warn);
        assert!(findings[0].message.contains("max_user_instances` is 2"), "{findings:?}");
        assert!(of_limits(&folder.path().join("none")).is_empty());
    }
}
