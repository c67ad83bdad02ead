//! The compilation of WebAssembly text to components. Two kinds of comments avoid repetition in the text: `;;include
//! NAME` is replaced by a file of `parts`; `;;repeat COUNT TEXT` is replaced by COUNT lines of the text, with the
//! number of the line in place of each `#`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

/// The first bytes of a core module. A component has another version in them.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// The compiler of components from text.
pub(super) struct Texts {
    parts: PathBuf,
    resolve: Resolve,
    world: WorldId,
}

impl Texts {
    pub(super) fn new(root: &Path, parts: PathBuf) -> Result<Self> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(root.join("wit"))?;
        let world = resolve.select_world(&[package], Some("authorizer"))?;
        Ok(Self { parts, resolve, world })
    }

    /// The component in a file. A core module is encoded as an authorizer; a component stays as it is.
    pub(super) fn component(&self, file: &Path) -> Result<Vec<u8>> {
        let text = fs::read_to_string(file)?;
        let mut bytes = wat::parse_str(self.expand(&text)?)?;
        if !bytes.starts_with(CORE_MODULE) {
            return Ok(bytes);
        }
        embed_component_metadata(&mut bytes, &self.resolve, self.world, StringEncoding::UTF8, false)?;
        witgate_build::encode(&bytes)
    }

    fn expand(&self, text: &str) -> Result<String> {
        let mut expanded = String::new();
        for line in text.lines() {
            if let Some(name) = line.trim().strip_prefix(";;include ") {
                let part = self.parts.join(format!("{name}.wat"));
                let part =
                    fs::read_to_string(&part).with_context(|| format!("including {}", part.display()))?;
                expanded += &self.expand(&part)?;
            } else if let Some(what) = line.trim().strip_prefix(";;repeat ") {
                let (count, text) = what.split_once(' ').context("repeat what?")?;
                let count: usize = count.parse().with_context(|| format!("repeat {count} times?"))?;
                (0..count).for_each(|number| expanded += &(text.replace('#', &number.to_string()) + "\n"));
            } else {
                expanded += line;
                expanded.push('\n');
            }
        }
        Ok(expanded)
    }
}
