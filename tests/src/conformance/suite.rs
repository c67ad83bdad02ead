//! The suite as an installed program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use super::{
    directory,
    results::{self, Check},
};

/// The suite and the Node that runs it.
#[derive(Debug, Clone)]
pub struct Suite {
    node: PathBuf,
    program: PathBuf,
}

impl Suite {
    /// The suite that `npm ci` puts into `tests/conformance`, run by this Node (22 or newer).
    pub fn installed(node: &Path) -> Self {
        let package = "node_modules/@modelcontextprotocol/conformance";
        Self { node: node.to_owned(), program: directory().join(package).join("dist/index.js") }
    }

    /// Runs all checks that a revision requires of a server, scored or not, and returns them, sorted. `output` must be
    /// empty or absent; it keeps the suite's results and output.
    ///
    /// # Errors
    /// When the suite is not installed, does not run, or leaves no result or half a result. Failed checks are not
    /// errors.
    pub fn run(&self, url: &str, revision: &str, output: &Path) -> anyhow::Result<Vec<Check>> {
        ensure!(self.program.is_file(), "the suite is not installed: run `npm ci` in tests/conformance");
        let results = output.join("results");
        fs::create_dir_all(&results)?;
        let run = Command::new(&self.node)
            .arg(&self.program)
            .args(["server", "--url", url, "--requirements", revision, "--output-dir"])
            .arg(&results)
            .output()
            .with_context(|| format!("cannot run {}", self.node.display()))?;
        let text = [run.stdout, run.stderr].concat();
        fs::write(output.join("output.txt"), &text)?;
        // Exit code 1 is a failed check, or a usage error: then there are no results to read.
        ensure!(
            matches!(run.status.code(), Some(0 | 1)),
            "the suite ended with {}: {}",
            run.status,
            String::from_utf8_lossy(&text)
        );
        results::read(&results).with_context(|| String::from_utf8_lossy(&text).into_owned())
    }
}
