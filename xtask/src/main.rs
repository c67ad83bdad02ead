//! Everything that needs more than cargo.

// Saying what it does is half of its job.
#![allow(clippy::print_stdout)]

mod tools;

use std::path::Path;

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask is in the workspace")?;
    match std::env::args().nth(1).as_deref() {
        Some("tools") => {
            let tools = tools::install(root)?;
            println!("tools: ready in {}", tools.dir.display());
            Ok(())
        }
        _ => bail!("usage: cargo xtask tools"),
    }
}
