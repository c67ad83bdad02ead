//! Debian's Rust for browsers: a compiler with the target WebAssembly, and the source of the standard library.
//!
//! It can be installed together with rustup's toolchain. It has no compiled standard library for the target, so cargo
//! builds that too, which a stable cargo does only with `RUSTC_BOOTSTRAP`.

use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::cargo::tidy;
use crate::process::ask;

/// Variables in which cargo describes itself to the programs that it runs. Debian's cargo must not read them as its
/// own.
const FOREIGN: [&str; 7] = [
    "CARGO",
    "LD_LIBRARY_PATH",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// Debian's toolchain, complete.
#[derive(Debug)]
pub(crate) struct Debian {
    bin: PathBuf,
    linker: PathBuf,
    version: Version,
}

impl Debian {
    /// The packages besides the linker, whose package has the version in its name.
    pub(crate) const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

    /// Finds the installed toolchain.
    pub(crate) fn installed() -> Result<Self> {
        Self::below(Path::new("/usr"))
    }

    /// Installs what is missing.
    pub(crate) fn install() -> Result<Self> {
        apt::install(&Self::PACKAGES)?;
        let compiler = Version::of(Path::new("/usr/bin/rustc"))?;
        let candidates = apt::numbered("lld-");
        let linker = best_linker(&candidates, compiler.llvm)
            .with_context(|| format!("Debian has no lld for LLVM {}", compiler.llvm))?;
        apt::install(&[&format!("lld-{linker}")])?;
        Self::installed()
    }

    fn below(prefix: &Path) -> Result<Self> {
        let bin = prefix.join("bin");
        let version = Version::of(&bin.join("rustc"))?;
        let oldest = number(env!("CARGO_PKG_RUST_VERSION"));
        if version.rust < oldest {
            bail!("its rustc is 1.{}, and Witgate needs 1.{}", version.rust.1, oldest.1);
        }
        for file in [bin.join("cargo"), prefix.join("lib/rustlib/src/rust/library/std/Cargo.toml")] {
            if !file.exists() {
                bail!("{} is missing", file.display());
            }
        }
        let installed: Vec<u32> = fs::read_dir(&bin)?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("wasm-ld-")?.parse().ok())
            .collect();
        let linker = best_linker(&installed, version.llvm)
            .with_context(|| format!("no wasm-ld for LLVM {} is installed", version.llvm))?;
        Ok(Self { linker: bin.join(format!("wasm-ld-{linker}")), bin, version })
    }

    /// A command of this toolchain's cargo for the target.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(self.bin.join("cargo"));
        tidy(&mut cargo);
        for name in FOREIGN {
            cargo.env_remove(name);
        }
        cargo
            .env("RUSTC", self.bin.join("rustc"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &self.linker);
        cargo
    }
}

impl Display for Debian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, minor) = self.version.rust;
        let linker = self.linker.file_name().unwrap_or_default().display();
        write!(f, "Debian's rustc 1.{minor} and {linker}, the standard library from source")
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Version {
    rust: (u32, u32),
    llvm: u32,
}

impl Version {
    fn of(rustc: &Path) -> Result<Self> {
        let output = ask(Command::new(rustc).arg("-vV").env_remove("LD_LIBRARY_PATH"));
        let output = output.with_context(|| format!("{} is missing", rustc.display()))?;
        Self::read(&output).with_context(|| format!("{} does not say its version", rustc.display()))
    }

    fn read(text: &str) -> Option<Self> {
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
        Some(Self { rust: number(field("release: ")?), llvm: number(field("LLVM version: ")?).0 })
    }
}

/// The first two numbers of a version.
fn number(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or_default());
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// The oldest linker whose LLVM is not older than the compiler's. A linker can read the output of its own LLVM and of
/// older ones.
fn best_linker(available: &[u32], llvm: u32) -> Option<u32> {
    available.iter().copied().filter(|&version| version >= llvm).min()
}

#[cfg(test)]
mod tests {
    use super::{Debian, Version, best_linker};

    #[test]
    fn the_linker_fits_the_compiler() {
        assert_eq!(best_linker(&[13, 19, 22], 22), Some(22));
        assert_eq!(best_linker(&[24, 23, 19], 22), Some(23));
        assert_eq!(best_linker(&[13, 19], 22), None);
    }

    #[test]
    fn the_versions_of_a_compiler_are_read() {
        let output = "rustc 1.96.0 (x)\nhost: h\nrelease: 1.96.0\nLLVM version: 22.1.8";
        assert_eq!(Version::read(output), Some(Version { rust: (1, 96), llvm: 22 }));
        assert_eq!(Version::read("rustc 1.96.0"), None);
    }

    #[test]
    fn a_missing_compiler_is_reported() -> anyhow::Result<()> {
        let prefix = tempfile::tempdir()?;
        let error = Debian::below(prefix.path()).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.ends_with("bin/rustc is missing")));
        Ok(())
    }
}
