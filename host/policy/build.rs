//! Embeds the shipped components: those in the directory `WITGATE_COMPONENTS`, or else those compiled from the sources
//! of this workspace. If no toolchain compiles to WebAssembly, the program has no components, and says so if they are
//! needed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};
use witgate_build::guest::{self, SHIPPED};
use witgate_build::toolchain::Toolchain;

type Components = Vec<(&'static str, Vec<u8>)>;

#[expect(clippy::disallowed_methods, reason = "the variables of a build")]
fn main() -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR")?);
    println!("cargo::rerun-if-env-changed=WITGATE_COMPONENTS");
    match env::var_os("WITGATE_COMPONENTS") {
        Some(directory) => embed(&out, &read(Path::new(&directory))?, ""),
        None => embed_compiled(&out),
    }
}

fn embed_compiled(out: &Path) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    for source in ["plugins", "wit", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    let _lock = guest::lock(&root)?;
    match Toolchain::find_installed(&root, &guest::memory(&root)) {
        Ok(toolchain) => embed(out, &guest::shipped(&root, &toolchain)?, ""),
        Err(error) => {
            // A toolchain that is installed later changes no source file. Depending on a file that never exists makes
            // this script run again each time.
            println!("cargo::rerun-if-changed={}", out.join("no-toolchain").display());
            let reason = format!("{error:#}");
            println!("cargo::warning=the shipped components are not embedded");
            reason.lines().for_each(|line| println!("cargo::warning={line}"));
            embed(out, &Vec::new(), &reason)
        }
    }
}

fn read(directory: &Path) -> Result<Components> {
    let read = |name: &'static str| {
        let file = directory.join(format!("{name}.wasm"));
        println!("cargo::rerun-if-changed={}", file.display());
        let bytes = fs::read(&file).with_context(|| format!("WITGATE_COMPONENTS: {}", file.display()))?;
        Ok((name, bytes))
    };
    SHIPPED.into_iter().map(read).collect()
}

/// Writes the constants that `policy/shipped_components.rs` includes.
fn embed(out: &Path, components: &Components, missing: &str) -> Result<()> {
    let mut source = String::from("const COMPONENTS: &[(&str, &[u8])] = &[\n");
    for (name, bytes) in components {
        let file = format!("{name}.wasm");
        fs::write(out.join(&file), bytes)?;
        writeln!(source, "    ({name:?}, include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\"))),")?;
    }
    writeln!(source, "];\nconst MISSING: &str = {missing:?};")?;
    fs::write(out.join("shipped.rs"), source)?;
    Ok(())
}
