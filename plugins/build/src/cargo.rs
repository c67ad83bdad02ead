//! Cargo, in the environment that it has in a shell.

use std::env;
use std::process::Command;

use crate::process::in_ci;

/// Variables in which `cargo run` and cargo describe this program and its build script. Other build scripts would read
/// them as their own, and would run again after each change between xtask and a shell.
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

/// The same for a cargo that a build script starts, because that cargo compiles for another target.
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

/// Removes the variables about this program from the environment of a cargo.
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
        // Nothing is built a second time in that environment.
        cargo.env("CARGO_INCREMENTAL", "0");
        cargo.env("CARGO_TERM_COLOR", "never").env("NO_COLOR", "1");
    }
}
