//! Debian's packages, for tools that the machine does not have.

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::{announce, ask, run, works};

/// Time limit for updating the lists of packages, some ten megabytes.
const UPDATE: Duration = Duration::from_secs(180);

/// Time limit for an installation. The largest set, a Rust toolchain, is about 200 MB.
const INSTALL: Duration = Duration::from_secs(900);

/// True once this process has updated the lists of packages.
static IS_CURRENT: Mutex<bool> = Mutex::new(false);

/// The reason why [`install`] is not possible, if there is one.
pub fn obstacle() -> Option<&'static str> {
    if !works(Command::new("apt-get").arg("--version")) {
        return Some("this machine has no apt-get");
    }
    let is_root = ask(Command::new("id").arg("-u")).is_some_and(|id| id == "0");
    (!is_root).then_some("only root may install packages")
}

/// Installs packages, without removing others.
pub fn install(packages: &[&str]) -> Result<()> {
    if let Some(obstacle) = obstacle() {
        bail!("cannot install {}: {obstacle}", packages.join(" "));
    }
    // One apt-get at a time, because it does not wait for the lock of the lists.
    let mut is_current = IS_CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    bring_up_to_date(&mut is_current)?;
    announce(&format!("set-up: apt-get install {}", packages.join(" ")));
    let mut install = Command::new("apt-get");
    install
        .args(["install", "-y", "--no-install-recommends", "--no-remove", "-o", "DPkg::Lock::Timeout=120"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
    run(&mut install, INSTALL)?;
    Ok(())
}

/// Versions of a package with the version in its name: for `lld-` 19 and 22, if there are `lld-19` and `lld-22`.
pub fn numbered(prefix: &str) -> Vec<u32> {
    let names = ask(Command::new("apt-cache").args(["pkgnames", prefix])).unwrap_or_default();
    names.lines().filter_map(|name| name.strip_prefix(prefix)?.parse().ok()).collect()
}

/// Updates the lists of packages, once in a run. A new machine has none, or old ones.
pub fn update() -> Result<()> {
    bring_up_to_date(&mut IS_CURRENT.lock().unwrap_or_else(PoisonError::into_inner))
}

fn bring_up_to_date(is_current: &mut bool) -> Result<()> {
    if !*is_current {
        announce("set-up: apt-get update");
        run(Command::new("apt-get").args(["update", "-o", "DPkg::Lock::Timeout=120"]), UPDATE)?;
        *is_current = true;
    }
    Ok(())
}
