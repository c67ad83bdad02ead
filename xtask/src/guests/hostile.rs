//! The hostile guests of the tests. One package has an example for each guest that Rust can express; the others are
//! WebAssembly text.

mod text;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::component::replace;
use text::Texts;
use witgate_build::encode;
use witgate_build::guest::{BUILD, cargo, lock};
use witgate_build::process::run;
use witgate_build::toolchain::{TARGET, Toolchain};

/// The name of the package, of the directory below `tests/guests`, and of the profile.
pub(super) const NAME: &str = "hostile";

/// Builds the hostile guests into `target/plugins/tests/hostile`.
pub(super) fn build(root: &Path, toolchain: &Toolchain) -> Result<()> {
    let source = root.join("tests/guests").join(NAME);
    if !source.is_dir() {
        return Ok(());
    }
    let mut cargo = cargo(root, toolchain, "build", NAME);
    cargo.args(["--package", "witgate-guest-hostile", "--examples", "--features", "guests"]);
    {
        let _lock = lock(root)?;
        run(&mut cargo, BUILD)?;
    }

    let modules = root.join(format!("target/guests/{TARGET}/{NAME}/examples"));
    let target = root.join("target/plugins/tests").join(NAME);
    let examples = files(&source.join("examples"), "rs")?;
    for example in &examples {
        let module = modules.join(format!("{}.wasm", name(example)?.replace('-', "_")));
        let module = fs::read(&module).with_context(|| format!("reading {}", module.display()))?;
        put(&target, example, encode(&module))?;
    }
    let directory = source.join("wat");
    let texts = Texts::new(root, directory.join("parts"))?;
    let sources = files(&directory, "wat")?;
    for source in &sources {
        put(&target, source, texts.component(source))?;
    }
    println!("guests: {:36} {} of Rust, {} of text", format!("tests/{NAME}"), examples.len(), sources.len());
    Ok(())
}

/// Writes the component of `source`. A file with the same content is not touched.
fn put(target: &Path, source: &Path, component: Result<Vec<u8>>) -> Result<()> {
    let component = component.with_context(|| source.display().to_string())?;
    let file = target.join(format!("{}.wasm", name(source)?));
    match fs::read(&file).is_ok_and(|old| old == component) {
        true => Ok(()),
        false => replace(&file, &component),
    }
}

/// The files of a directory with this extension, sorted by name.
fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    let paths: Result<Vec<PathBuf>, _> =
        entries.map(|entry| Ok::<_, std::io::Error>(entry?.path())).collect();
    let mut paths = paths?;
    paths.retain(|path| path.extension() == Some(OsStr::new(extension)));
    paths.sort();
    Ok(paths)
}

fn name(source: &Path) -> Result<&str> {
    source.file_stem().and_then(OsStr::to_str).with_context(|| format!("{} has no name", source.display()))
}
