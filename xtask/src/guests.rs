//! Guests: from a core module to a component.

use std::fs;
use std::path::Path;

use anyhow::Context;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

/// Writes the types of the one-hook worlds where the plugin SDK embeds them.
pub(crate) fn write_world_types(root: &Path) -> anyhow::Result<()> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root.join("wit"))?;
    for name in ["authenticator", "authorizer"] {
        let world = resolve.select_world(&[package], Some(name))?;
        let bytes = wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None)?;
        let file = root.join(format!("plugins/sdk/src/guest/worlds/{name}.component-type"));
        fs::write(&file, bytes).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Encodes a core module as a component.
pub(crate) fn encode(module: &Path, component: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(module).with_context(|| format!("reading {}", module.display()))?;
    let encoded = ComponentEncoder::default().module(&bytes)?.validate(true).encode()?;
    fs::write(component, encoded).with_context(|| format!("writing {}", component.display()))
}
