//! The program as it ships: the compiler optimises it with a profile of its own calls (profile-guided optimisation).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use witgate_build::apt;
use witgate_build::cargo::cargo;
use witgate_build::process::{ask, run, works};

use crate::load;

/// Time limit for a build: it compiles all dependencies, and links everything as one piece.
const BUILD: Duration = Duration::from_secs(3600);

/// Time limit for merging the recordings.
const MERGE: Duration = Duration::from_secs(300);

/// The program that merges recordings.
const MERGER: &str = "llvm-profdata";

/// Builds the program twice: once so that it counts what it executes while `load` calls it, and once with these counts.
/// Prints the path of the second.
pub(crate) fn run_all(root: &Path) -> Result<()> {
    let merger = merger()?;
    let folder = root.join("target/profiled");
    let (recordings, profile) = (folder.join("recordings"), folder.join("witgate.profdata"));
    if recordings.exists() {
        fs::remove_dir_all(&recordings)?;
    }
    eprintln!("release: building a program that counts what it executes");
    let counting = build(root, &folder, &format!("-Cprofile-generate={}", recordings.display()))?;
    load::train(root, counting)?;
    run(Command::new(merger).args(["merge", "-o"]).args([&profile, &recordings]), MERGE)?;
    eprintln!("release: building with the counts");
    let program = build(root, &folder, &format!("-Cprofile-use={}", profile.display()))?;
    println!("{}", program.display());
    Ok(())
}

/// Builds the gateway with a flag of the compiler, and returns the program.
fn build(root: &Path, folder: &Path, flag: &str) -> Result<PathBuf> {
    let host = host()?;
    let mut build = cargo();
    // A named target keeps the flag from build scripts and macros, which run during the build.
    build.args(["build", "--release", "--locked", "-p", "witgate", "--bin", "witgate", "--target", &host]);
    build.arg("--target-dir").arg(folder).current_dir(root).env("CARGO_ENCODED_RUSTFLAGS", flag);
    run(&mut build, BUILD)?;
    Ok(folder.join(host).join("release/witgate"))
}

/// The platform of the compiler.
fn host() -> Result<String> {
    let version = ask(Command::new("rustc").arg("-vV")).context("cannot run `rustc -vV`")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

/// The program that merges recordings: that of the toolchain, or of the system.
fn merger() -> Result<PathBuf> {
    let sysroot = ask(Command::new("rustc").args(["--print", "sysroot"])).context("cannot run `rustc`")?;
    let of_toolchain = Path::new(sysroot.trim()).join("lib/rustlib").join(host()?).join("bin").join(MERGER);
    let numbered = apt::numbered("llvm-").into_iter().map(|number| format!("{MERGER}-{number}").into());
    let mut known = [of_toolchain, MERGER.into()].into_iter().chain(numbered);
    match known.find(|program| works(Command::new(program).arg("--version"))) {
        Some(program) => Ok(program),
        None => {
            bail!("`{MERGER}` is missing: `rustup component add llvm-tools` (Debian: `apt-get install llvm`)")
        }
    }
}
