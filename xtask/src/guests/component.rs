//! Components as files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// A component in a file.
pub(crate) struct Built {
    /// The digest: `sha256:` and the hash in hexadecimal digits.
    digest: String,
    size: usize,
    changed: bool,
}

impl Built {
    pub(super) fn tell(&self, name: &str) {
        let change = if self.changed { "" } else { "  (unchanged)" };
        println!("guests: {name:36} {:5} KB  {}{change}", self.size.div_ceil(1024), self.digest);
    }
}

/// Encodes a core module as a component.
pub(crate) fn encode(module: &Path, component: &Path) -> Result<Built> {
    let bytes = fs::read(module).with_context(|| format!("reading {}", module.display()))?;
    let encoded = witgate_build::encode(&bytes).with_context(|| module.display().to_string())?;
    place(component, &encoded)
}

/// Writes a component. A file with the same content is not touched.
pub(super) fn place(component: &Path, encoded: &[u8]) -> Result<Built> {
    let changed = !fs::read(component).is_ok_and(|old| old == encoded);
    if changed {
        replace(component, encoded)?;
    }
    Ok(Built { digest: digest(encoded), size: encoded.len(), changed })
}

/// Writes a file atomically: a reader sees the whole old file or the whole new one.
pub(crate) fn replace(file: &Path, content: &[u8]) -> Result<()> {
    let directory = file.parent().context("a file is in a directory")?;
    fs::create_dir_all(directory)?;
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    std::io::Write::write_all(&mut new, content)?;
    new.persist(file).with_context(|| format!("writing {}", file.display()))?;
    Ok(())
}

/// The digest in the form of the configuration.
pub(crate) fn digest(content: &[u8]) -> String {
    let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
