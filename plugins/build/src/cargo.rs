//! Cargo, as if it had been called by hand.

use std::env;
use std::process::Command;

use crate::process::in_ci;

/// Variables by which `cargo run` tells this program about itself, or cargo a build script. Some build scripts take them for theirs:
/// they would run again whenever xtask and hand took turns.
const OURS: [&str; 9] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_PRIMARY_",
    "CARGO_CFG_",
    "CARGO_FEATURE_",
    "CARGO_MAKEFLAGS",
    "CLIPPY_",
];

/// The same, where a build script starts cargo: how that cargo compiles is not how this one does.
const OF_BUILD_SCRIPTS: [&str; 13] = [
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTC",
    "RUSTDOC",
    "RUSTFLAGS",
    "TARGET",
    "HOST",
    "OUT_DIR",
    "PROFILE",
    "OPT_LEVEL",
    "DEBUG",
    "NUM_JOBS",
    "CARGO_TARGET_DIR",
];

/// The cargo that runs this program.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    tidy(&mut cargo);
    cargo
}

/// Takes out of a cargo's environment what is about this program.
pub fn tidy(cargo: &mut Command) {
    for (name, _) in env::vars_os() {
        if OURS.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    if env::var_os("OUT_DIR").is_some() {
        for name in OF_BUILD_SCRIPTS {
            cargo.env_remove(name);
        }
    }
    if in_ci() {
        // Nothing is built a second time there.
        cargo.env("CARGO_INCREMENTAL", "0");
        cargo.env("CARGO_TERM_COLOR", "never").env("NO_COLOR", "1");
    }
}
