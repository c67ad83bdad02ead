//! Cargo, as if it had been called by hand.

use std::env;
use std::process::Command;

use crate::process::in_ci;

/// What `cargo run` tells this program about itself, and what some build scripts take for theirs: they would run again
/// whenever xtask and hand took turns.
const OURS: [&str; 5] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];

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
    if in_ci() {
        // Nothing is built a second time there.
        cargo.env("CARGO_INCREMENTAL", "0");
        cargo.env("CARGO_TERM_COLOR", "never").env("NO_COLOR", "1");
    }
}
