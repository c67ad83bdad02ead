//! The Rust types of the one-hook worlds, which the plugin SDK embeds.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// Writes the types.
pub(crate) fn write(root: &Path) -> Result<()> {
    for (file, bytes) in world_types(root)? {
        fs::write(&file, bytes).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Fails if the types differ from `wit/`.
pub(crate) fn check(root: &Path) -> Result<()> {
    for (file, bytes) in world_types(root)? {
        if fs::read(&file).with_context(|| format!("reading {}", file.display()))? != bytes {
            bail!("{} is not what wit/ says: run `cargo xtask wit`", file.display());
        }
    }
    Ok(())
}

fn world_types(root: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root.join("wit"))?;
    let encode = |name: &str| {
        let world = resolve.select_world(&[package], Some(name))?;
        let bytes = wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None, false)?;
        let file = root.join(format!("plugins/sdk/src/guest/worlds/{name}.component-type"));
        Ok((file, bytes))
    };
    ["authenticator", "list-authorizer"].into_iter().map(encode).collect()
}
