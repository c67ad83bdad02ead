//! Guests: components in `target/plugins` that are built from the repository's sources.

mod component;
mod examples;
mod hostile;
mod package;

use std::fs;
use std::path::Path;

use anyhow::Result;

use component::place;
use package::Guest;
use witgate_build::guest;
use witgate_build::toolchain::Toolchain;

pub(crate) use component::{digest, encode, replace};

/// The cargo profile of guests with names and line numbers.
const DEBUG: &str = "component-debug";

/// The policies that Witgate ships with.
fn shipped() -> impl Iterator<Item = Guest> {
    guest::SHIPPED.into_iter().map(|name| Guest::new(format!("witgate-{name}"), name))
}

/// The guest that replaces a shipped policy in the demo.
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
        // The hostile guests are one package with many components.
        if entry.path().join("Cargo.toml").is_file() && name != hostile::NAME {
            guests.push(Guest::new(format!("witgate-guest-{name}"), format!("tests/{name}")));
        }
    }
    // This guest keeps its names, for the test of trap reports.
    guests.push(Guest { profile: DEBUG, ..Guest::new("witgate-guest-faulty", "tests/faulty-debug") });
    guests.sort_by(|a, b| a.output.cmp(&b.output));
    Ok(guests)
}

/// The toolchain for guests. Its missing parts are installed.
pub(crate) fn toolchain(root: &Path) -> Result<Toolchain> {
    // Without the lock, two runs at once would install the same toolchain twice.
    let _lock = guest::lock(root)?;
    let toolchain = Toolchain::find(root, &guest::memory(root))?;
    println!("guests: with {toolchain}");
    Ok(toolchain)
}

/// Builds every guest of the workspace.
pub(crate) fn build_all(root: &Path) -> Result<()> {
    build_all_with(root, &toolchain(root)?)
}

/// Builds every guest of the workspace with this toolchain.
pub(crate) fn build_all_with(root: &Path, toolchain: &Toolchain) -> Result<()> {
    for guest in shipped().chain(examples::in_rust(root)?).chain(fixtures(root)?) {
        build_one(root, toolchain, &guest)?;
    }
    hostile::build(root, toolchain)?;
    examples::build_others(root)
}

/// Builds the guests of the demo.
pub(crate) fn build_for_demo(root: &Path, toolchain: &Toolchain) -> Result<()> {
    shipped().chain([demonstrated()]).try_for_each(|guest| build_one(root, toolchain, &guest))
}

fn build_one(root: &Path, toolchain: &Toolchain, guest: &Guest) -> Result<()> {
    let Guest { package, output, profile, manifest, behind } = guest;
    let crate_ = guest::Guest { package, profile, manifest: manifest.as_deref() };
    let encoded = {
        // A build of the host may wait for the lock, so the lock is held for only one guest at a time.
        let _lock = guest::lock(root)?;
        crate_.compile(root, toolchain)?
    };
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
