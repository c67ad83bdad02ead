//! Debian's packages, for what a bare machine lacks.

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::{announce, ask, run, works};

/// Lists are some ten megabytes.
const UPDATE: Duration = Duration::from_secs(180);

/// The largest set (a Rust toolchain) is about 200 MB.
const INSTALL: Duration = Duration::from_secs(900);

/// True once this process has updated the lists of packages.
static IS_CURRENT: Mutex<bool> = Mutex::new(false);

/// Says what prevents [`install`].
pub fn obstacle() -> Option<&'static str> {
    if !works(Command::new("apt-get").arg("--version")) {
        return Some("there is no apt-get here");
    }
    let is_root = ask(Command::new("id").arg("-u")).is_some_and(|id| id == "0");
    (!is_root).then_some("only root may install packages")
}

/// Installs packages, but removes none for it.
pub fn install(packages: &[&str]) -> Result<()> {
    if let Some(obstacle) = obstacle() {
        bail!("cannot install {}: {obstacle}", packages.join(" "));
    }
    // One at a time: apt-get does not wait for the lock of the lists.
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

/// Versions of a package that carries its version in its name: `lld-` finds 19 and 22 where there are `lld-19` and `lld-22`.
pub fn numbered(prefix: &str) -> Vec<u32> {
    let names = ask(Command::new("apt-cache").args(["pkgnames", prefix])).unwrap_or_default();
    names.lines().filter_map(|name| name.strip_prefix(prefix)?.parse().ok()).collect()
}

/// Updates the lists of packages: once in a run, for a bare machine has none, or old ones.
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
