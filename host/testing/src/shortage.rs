//! Shortages, for tests that run in a process of their own.

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// True in a process that runs the test `name` alone, so that the test may take all resources of the process.
/// Elsewhere, starts such a process, and fails if it fails.
#[expect(clippy::disallowed_methods, reason = "no variable of a configuration")]
pub fn is_alone(name: &str) -> bool {
    const ALONE: &str = "WITGATE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut alone = Command::new(std::env::current_exe().unwrap());
    let output = alone.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{name}: {output:?}");
    false
}

/// Makes each opening of a file fail from now on, for lack of file descriptors (EMFILE).
pub fn take_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit }).unwrap();
}
