//! Everything that needs more than cargo.

// Saying what it does is half of its job.
#![allow(clippy::print_stdout)]

mod guests;
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
        Some("wit") => guests::write_world_types(root),
        Some("encode") => {
            let path = |n| std::env::args_os().nth(n).context("usage: cargo xtask encode MODULE COMPONENT");
            guests::encode(Path::new(&path(2)?), Path::new(&path(3)?))
        }
        _ => bail!("usage: cargo xtask tools|wit|encode"),
    }
}
