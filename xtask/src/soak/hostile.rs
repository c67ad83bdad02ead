//! Malicious components: all the hostile guests of the tests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The component whose answers are known: it fails in the way that the tool's name says.
pub(super) const FAULTY: &str = "faulty";

pub(super) struct Hostile {
    all: Vec<(String, Vec<u8>)>,
    faulty: Vec<u8>,
}

impl Hostile {
    pub(super) fn find(root: &Path) -> Result<Self> {
        let directory = root.join("target/plugins/tests");
        let faulty =
            fs::read(directory.join("faulty.wasm")).context("no hostile guests: cargo xtask guests")?;
        let (mut all, mut directories) = (Vec::new(), vec![directory]);
        while let Some(directory) = directories.pop() {
            let mut entries: Vec<PathBuf> =
                fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
            entries.sort();
            for path in entries {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                match path.extension().and_then(|suffix| suffix.to_str()) {
                    _ if path.is_dir() => directories.push(path),
                    Some("wasm") => all.push((name, fs::read(path)?)),
                    _ => {}
                }
            }
        }
        Ok(Self { all, faulty })
    }

    /// The component with this number; after the last one comes the first again.
    pub(super) fn nth(&self, number: usize) -> Option<(&str, &[u8])> {
        self.all
            .iter()
            .cycle()
            .nth(number % self.all.len().max(1))
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// A component that always goes live, whatever it does afterwards.
    pub(super) fn faulty(&self) -> &[u8] {
        &self.faulty
    }

    pub(super) fn put_harmless(&self, directory: &Path) -> Result<()> {
        fs::write(directory.join("secret"), "a secret of the client that asks")?;
        Ok(fs::write(directory.join("hostile.wasm"), &self.faulty)?)
    }
}
