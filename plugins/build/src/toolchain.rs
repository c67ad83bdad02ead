//! A toolchain that compiles to WebAssembly: rustup's if possible, or else Debian's.

mod debian;

use std::env;
use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::cargo::cargo;
use crate::process::{announce, ask, attempt};
use debian::Debian;

/// The target of guests. It has no system interface, so a guest imports only what its world names.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Time limit for `rustup target add`, which downloads some 20 MB. Without a network, it must not delay the next steps.
const TARGET_ADD: Duration = Duration::from_secs(60);

/// The content of the file with the choice, if that is Debian's toolchain.
const DEBIAN: &str = "debian";

/// The toolchain for guests.
#[derive(Debug)]
#[allow(private_interfaces, reason = "Debian's is nobody else's matter")]
pub enum Toolchain {
    /// The toolchain that built this program, with its wasm target.
    Rustup {
        /// True if the target was added by this run.
        added: bool,
    },
    /// Debian's packages, with the standard library from source.
    Debian(Debian),
}

/// The inputs of a cargo build.
#[derive(Clone, Copy, Debug)]
pub struct CargoBuild<'a> {
    /// `build` or `rustc`.
    pub subcommand: &'a str,
    /// The working directory of cargo.
    pub directory: &'a Path,
    /// The text that replaces that directory in the component.
    pub seen_as: &'a str,
    /// The target directory.
    pub target_dir: &'a Path,
    /// The profile.
    pub profile: &'a str,
}

impl Toolchain {
    /// Finds a toolchain. It tries, in this order: the installed target of rustup, adding that target, Debian's
    /// installed packages, and installing those. The file `memory` keeps the choice of Debian's toolchain, because an
    /// attempt with rustup may take a minute. `directory` is the working directory of cargo.
    ///
    /// # Errors
    /// If there is none, with the commands that install one.
    pub fn find(directory: &Path, memory: &Path) -> Result<Self> {
        Self::choose(directory, memory, || Debian::installed().or_else(|_| Debian::install()))
    }

    /// The same, but without installing Debian's packages. That needs the rights of root, which a build must not use
    /// unless somebody has asked for it.
    ///
    /// # Errors
    /// As [`Toolchain::find`].
    pub fn find_installed(directory: &Path, memory: &Path) -> Result<Self> {
        Self::choose(directory, memory, Debian::installed)
    }

    fn choose(directory: &Path, memory: &Path, debian: impl FnOnce() -> Result<Debian>) -> Result<Self> {
        if has_target(directory) {
            return Ok(Self::Rustup { added: false });
        }
        if fs::read_to_string(memory).is_ok_and(|choice| choice.trim() == DEBIAN)
            && let Ok(debian) = Debian::installed()
        {
            return Ok(Self::Debian(debian));
        }
        let no_rustup = match add_target(directory) {
            Ok(()) => return Ok(Self::Rustup { added: true }),
            Err(obstacle) => obstacle,
        };
        announce(&format!("set-up: {no_rustup:#}; trying Debian's packages"));
        match debian() {
            Ok(debian) => {
                fs::write(memory, DEBIAN)?;
                Ok(Self::Debian(debian))
            }
            Err(no_debian) => bail!(
                "nothing here compiles Rust to WebAssembly. Either of these helps:\n\
                 - rustup (https://rustup.rs): `rustup target add {TARGET}` ({no_rustup:#})\n\
                 - Debian, as root: `apt-get update && apt-get install {}` ({no_debian:#})",
                Debian::PACKAGES.join(" ") + " lld-NN"
            ),
        }
    }

    /// Cargo, set up for this target.
    pub fn cargo(&self, recipe: &CargoBuild<'_>) -> Command {
        let mut flags = vec![];
        let mut command = match self {
            Self::Rustup { .. } => cargo(),
            Self::Debian(debian) => {
                flags.push("-Clinker-flavor=wasm-ld".into());
                debian.cargo()
            }
        };
        command.arg(recipe.subcommand);
        if let Self::Debian(_) = self {
            command.arg("-Zbuild-std=std,panic_abort");
        }
        // A component does not contain the directory of its build, so builds in all directories are equal.
        for (from, to) in [(recipe.directory.to_owned(), recipe.seen_as), (cargo_home(), "/cargo")] {
            flags.push(format!("--remap-path-prefix={}={to}", from.display()));
        }
        command
            .args(["--profile", recipe.profile, "--target", TARGET])
            .arg("--target-dir")
            .arg(recipe.target_dir)
            .current_dir(recipe.directory)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        command
    }
}

impl Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rustup { added: false } => write!(f, "the target {TARGET} of rustup"),
            Self::Rustup { added: true } => {
                write!(f, "the target {TARGET}, which rustup has added")
            }
            Self::Debian(debian) => debian.fmt(f),
        }
    }
}

fn cargo_home() -> PathBuf {
    let in_home = || env::home_dir().unwrap_or_default().join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(in_home, PathBuf::from)
}

/// True if the compiler has the target's standard library. It knows the name of the target even without that.
fn has_target(directory: &Path) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(directory);
    let Some(directory) = ask(rustc.args(["--print", "target-libdir", "--target", TARGET])) else {
        return false;
    };
    let names = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.into_iter().any(|name| name.to_string_lossy().starts_with("libstd-"))
}

fn add_target(directory: &Path) -> Result<()> {
    if ask(Command::new("rustup").arg("--version")).is_none() {
        bail!("rustup is not installed");
    }
    announce(&format!("set-up: rustup target add {TARGET}"));
    let end =
        attempt(Command::new("rustup").args(["target", "add", TARGET]).current_dir(directory), TARGET_ADD)?;
    if !end.succeeded() {
        let last = end.output.trim_end().lines().last().unwrap_or_default();
        bail!("rustup cannot add it: {} ({last})", end.reason());
    }
    if !has_target(directory) {
        bail!("rustup added it, but not for the compiler that this build uses");
    }
    Ok(())
}
