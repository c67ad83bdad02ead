//! The guests of this repository, built from crates of its workspace.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::encode;
use crate::process::run;
use crate::toolchain::{CargoBuild, TARGET, Toolchain};

/// The shipped policies. Their crates are called `witgate-NAME`.
pub const SHIPPED: [&str; 6] =
    ["api-key", "basic", "jwt", "oauth2-introspection", "client-certificate", "rbac"];

/// The profile of components that ship.
pub const STRIPPED: &str = "component";

/// Time limit for one guest. On a slow core, with the standard library built from source, it takes about two minutes.
pub const BUILD: Duration = Duration::from_secs(1200);

/// A crate that becomes a component.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// The package.
    pub package: &'a str,
    /// The profile of cargo.
    pub profile: &'a str,
    /// The manifest of the crate's separate workspace, if it has one.
    pub manifest: Option<&'a Path>,
}

impl Guest<'_> {
    /// Compiles the crate to a component; `root` is the directory of the workspace.
    ///
    /// # Errors
    /// If it does not compile, or does not fit its world.
    pub fn compile(&self, root: &Path, toolchain: &Toolchain) -> Result<Vec<u8>> {
        let mut cargo = cargo(root, toolchain, "rustc", self.profile);
        cargo.args(["--package", self.package, "--lib", "--crate-type", "cdylib"]);
        if let Some(manifest) = self.manifest {
            cargo.arg("--manifest-path").arg(manifest);
        }
        run(&mut cargo, BUILD)?;
        let name = self.package.replace('-', "_");
        let module = root.join(format!("target/guests/{TARGET}/{}/{name}.wasm", self.profile));
        let bytes = fs::read(&module).with_context(|| format!("reading {}", module.display()))?;
        encode(&bytes).with_context(|| module.display().to_string())
    }
}

/// Compiles the shipped policies: their names and their components.
///
/// # Errors
/// If one does not compile.
pub fn shipped(root: &Path, toolchain: &Toolchain) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let compile = |name: &'static str| {
        let package = format!("witgate-{name}");
        let guest = Guest { package: &package, profile: STRIPPED, manifest: None };
        Ok((name, guest.compile(root, toolchain)?))
    };
    SHIPPED.into_iter().map(compile).collect()
}

/// A command of cargo for guests in this profile, in a separate target directory.
#[must_use]
pub fn cargo(root: &Path, toolchain: &Toolchain, subcommand: &str, profile: &str) -> Command {
    let target_dir = root.join("target/guests");
    let mut cargo = toolchain.cargo(&CargoBuild {
        subcommand,
        directory: root,
        seen_as: "/witgate",
        target_dir: &target_dir,
        profile,
    });
    cargo.arg("--locked");
    cargo
}

/// Locks the directory in which guests are built, so that two programs that build them take turns.
///
/// # Errors
/// If it cannot be created or locked.
pub fn lock(root: &Path) -> Result<File> {
    let directory = root.join("target/guests");
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let lock = File::create(directory.join("lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// The file with the choice of a toolchain ([`Toolchain::find`]).
#[must_use]
pub fn memory(root: &Path) -> std::path::PathBuf {
    root.join("target/guests/toolchain")
}
