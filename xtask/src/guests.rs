//! Guests: from Rust crates to components in `target/plugins`.

mod examples;
mod hostile;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use witgate_build::guest::{self, STRIPPED};
use witgate_build::toolchain::Toolchain;

/// A crate that becomes a component.
pub(crate) struct Guest {
    package: String,
    /// Below `target/plugins`, without `.wasm`.
    output: String,
    profile: &'static str,
    /// The manifest of a workspace of its own, if it has one.
    manifest: Option<PathBuf>,
    /// The component that it is composed with, if it is.
    behind: Option<String>,
}

/// With names and lines.
const DEBUG: &str = "component-debug";

impl Guest {
    fn new(package: impl Into<String>, output: impl Into<String>) -> Self {
        Self {
            package: package.into(),
            output: output.into(),
            profile: STRIPPED,
            manifest: None,
            behind: None,
        }
    }
}

/// A component on disk.
pub(crate) struct Built {
    /// `sha256:` and the hash in hexadecimal digits.
    digest: String,
    size: usize,
    changed: bool,
}

/// The policies that Witgate ships with.
fn shipped() -> impl Iterator<Item = Guest> {
    guest::SHIPPED.into_iter().map(|name| Guest::new(format!("witgate-{name}"), name))
}

/// The guest that replaces a shipped one in the demo.
fn demonstrated() -> Guest {
    Guest::new("witgate-example-read-only", "examples/read-only")
}

/// The fixtures of the tests: the directory `tests/guests/NAME` holds the package `witgate-guest-NAME`.
fn fixtures(root: &Path) -> Result<Vec<Guest>> {
    let directory = root.join("tests/guests");
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let mut guests = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // The hostile ones are many in one package.
        if entry.path().join("Cargo.toml").is_file() && name != hostile::NAME {
            guests.push(Guest::new(format!("witgate-guest-{name}"), format!("tests/{name}")));
        }
    }
    // What a trap looks like where names are kept.
    guests.push(Guest { profile: DEBUG, ..Guest::new("witgate-guest-faulty", "tests/faulty-debug") });
    guests.sort_by(|a, b| a.output.cmp(&b.output));
    Ok(guests)
}

/// Builds every guest of the workspace.
pub(crate) fn build_all(root: &Path) -> Result<()> {
    let guests: Vec<Guest> = shipped().chain(examples::in_rust(root)?).chain(fixtures(root)?).collect();
    build(root, &guests, |root, toolchain| {
        hostile::build(root, toolchain)?;
        examples::build_others(root)
    })
}

/// Builds what the demo shows.
pub(crate) fn build_for_demo(root: &Path) -> Result<()> {
    let guests: Vec<Guest> = shipped().chain([demonstrated()]).collect();
    build(root, &guests, |_, _| Ok(()))
}

/// Builds guests, and `more` with the same toolchain, and says what came of it.
fn build(root: &Path, guests: &[Guest], more: impl FnOnce(&Path, &Toolchain) -> Result<()>) -> Result<()> {
    // Two runs at once would install the same toolchain twice.
    let _lock = guest::lock(root)?;
    let toolchain = Toolchain::find(root, &guest::memory(root))?;
    println!("guests: with {toolchain}");
    guests.iter().try_for_each(|guest| build_one(root, &toolchain, guest))?;
    more(root, &toolchain)
}

fn build_one(root: &Path, toolchain: &Toolchain, guest: &Guest) -> Result<()> {
    let Guest { package, output, profile, manifest, behind } = guest;
    let crate_ = guest::Guest { package, profile, manifest: manifest.as_deref() };
    let encoded = crate_.compile(root, toolchain)?;
    let file = root.join(format!("target/plugins/{output}.wasm"));
    let built = match behind {
        None => place(&file, &encoded)?,
        Some(inner) => {
            let outer = root.join(format!("target/guests/composed/{package}.wasm"));
            place(&outer, &encoded)?;
            examples::compose(root, &outer, inner, &file)?
        }
    };
    built.tell(&guest.output);
    Ok(())
}

impl Built {
    fn tell(&self, name: &str) {
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

/// Writes a component; a file that already is that component is not touched.
fn place(component: &Path, encoded: &[u8]) -> Result<Built> {
    let changed = !fs::read(component).is_ok_and(|old| old == encoded);
    if changed {
        replace(component, encoded)?;
    }
    Ok(Built { digest: digest(encoded), size: encoded.len(), changed })
}

/// Writes a file so that whoever looks at it sees the old or the new one, whole.
pub(crate) fn replace(file: &Path, content: &[u8]) -> Result<()> {
    let directory = file.parent().context("a file is in a directory")?;
    fs::create_dir_all(directory)?;
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    std::io::Write::write_all(&mut new, content)?;
    new.persist(file).with_context(|| format!("writing {}", file.display()))?;
    Ok(())
}

/// As the configuration writes it.
pub(crate) fn digest(content: &[u8]) -> String {
    let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
