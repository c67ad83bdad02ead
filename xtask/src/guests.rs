//! Guests: from Rust crates to components in `target/plugins`.

mod examples;
mod hostile;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use witgate_build::process::run;
use witgate_build::toolchain::{Recipe, TARGET, Toolchain};

/// One guest on one slow core, with the standard library built from source, takes about two minutes.
const BUILD: Duration = Duration::from_secs(1200);

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

/// What ships.
const STRIPPED: &str = "component";
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
    ["api-key", "jwt", "oauth2-introspection", "client-certificate", "rbac"]
        .into_iter()
        .map(|name| Guest::new(format!("witgate-{name}"), name))
}

/// What the demo puts in place of a shipped one.
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
    let directory = root.join("target/guests");
    fs::create_dir_all(&directory)?;
    // Two runs at once would install the same toolchain twice.
    let lock = File::create(directory.join("lock"))?;
    lock.lock()?;

    let toolchain = Toolchain::find(root, &directory.join("toolchain"))?;
    println!("guests: with {toolchain}");
    guests.iter().try_for_each(|guest| build_one(root, &toolchain, guest))?;
    more(root, &toolchain)?;
    write_sums(root)
}

/// Writes the digests of the shipped components in the form of `sha256sum`: the host is built with
/// them and so knows its own components again.
fn write_sums(root: &Path) -> Result<()> {
    let directory = root.join("target/plugins");
    let mut sums = String::new();
    for guest in shipped() {
        let name = format!("{}.wasm", guest.output);
        let digest = digest(&fs::read(directory.join(&name))?);
        sums += &format!("{}  {name}\n", digest.trim_start_matches("sha256:"));
    }
    let file = directory.join("SHA256SUMS");
    if fs::read_to_string(&file).is_ok_and(|old| old == sums) {
        return Ok(());
    }
    replace(&file, sums.as_bytes())
}

fn build_one(root: &Path, toolchain: &Toolchain, guest: &Guest) -> Result<()> {
    let mut cargo = cargo(root, toolchain, "rustc", guest.profile);
    cargo.args(["--package", &guest.package, "--lib", "--crate-type", "cdylib"]);
    if let Some(manifest) = &guest.manifest {
        cargo.arg("--manifest-path").arg(manifest);
    }
    run(&mut cargo, BUILD)?;

    let name = guest.package.replace('-', "_");
    let module = root.join(format!("target/guests/{TARGET}/{}/{name}.wasm", guest.profile));
    let file = root.join(format!("target/plugins/{}.wasm", guest.output));
    let built = match &guest.behind {
        None => encode(&module, &file)?,
        Some(inner) => {
            let outer = root.join(format!("target/guests/composed/{name}.wasm"));
            encode(&module, &outer)?;
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
    let encoded = encode_bytes(&bytes).with_context(|| module.display().to_string())?;
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

fn encode_bytes(module: &[u8]) -> Result<Vec<u8>> {
    witgate_build::encode(module).context("the module does not fit its world")
}

/// A command of cargo for guests in this profile, in a target directory of their own.
fn cargo(root: &Path, toolchain: &Toolchain, subcommand: &str, profile: &str) -> Command {
    let target_dir = root.join("target/guests");
    let mut cargo = toolchain.cargo(&Recipe {
        subcommand,
        directory: root,
        seen_as: "/witgate",
        target_dir: &target_dir,
        profile,
    });
    cargo.arg("--locked");
    cargo
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
