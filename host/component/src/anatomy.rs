//! The static facts of a file: its form of WebAssembly, its imports and exports, and the notes of the tools that made
//! it. It reads as much as possible; the rest of the file may be broken.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{Encoding, KnownCustom, Parser, Payload, ProducersSectionReader};

use witgate_base::printable::clean;

/// Maximum number of names of imports, exports, sections and tools in a report. No ordinary component has as many.
const MOST: usize = 200;

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileForm {
    /// A component.
    Component,
    /// A core module, which every compiler to WebAssembly makes first.
    Module,
    /// WebAssembly as text.
    Text,
    /// Nothing at all.
    Empty,
    /// Any other file.
    Other,
}

impl FileForm {
    /// The form of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let begins = |text: &[u8]| bytes.trim_ascii_start().starts_with(text);
        match bytes {
            [] => Self::Empty,
            [0, b'a', b's', b'm', _, _, 1, 0, ..] => Self::Component,
            [0, b'a', b's', b'm', ..] => Self::Module,
            _ if begins(b"(module") || begins(b"(component") => Self::Text,
            _ => Self::Other,
        }
    }

    /// The reason why the file is not a component, with advice. None: it is a component.
    pub fn is_no_component(self) -> Option<&'static str> {
        match self {
            Self::Component => None,
            Self::Module => Some(
                "it is a core module; build it with `witgate plugin build`, or make a component of it with \
                 `wasm-tools component new`",
            ),
            Self::Text => Some("it is WebAssembly text; make a binary of it with `wasm-tools parse`"),
            Self::Empty => Some("it is empty; build or copy it again"),
            Self::Other => {
                Some("it is not WebAssembly at all; name the `.wasm` file that `witgate plugin build` writes")
            }
        }
    }
}

/// The static facts of a file.
#[derive(Debug)]
pub struct Anatomy {
    /// The form of the file.
    pub form: FileForm,
    /// The imports of a component.
    pub imports: Vec<String>,
    /// The exports of a component.
    pub exports: Vec<String>,
    /// The custom sections by name, including those of modules in the component, with their sizes in bytes.
    pub sections: BTreeMap<String, usize>,
    /// The tools that made the component, by field: `language`, `processed-by`, `sdk`.
    pub producers: BTreeMap<String, BTreeSet<String>>,
    /// Bytes of linear memory that all modules have from the start.
    pub memory: u64,
    /// The reason why the rest of the file cannot be read. None: the whole file can be read.
    pub broken: Option<String>,
}

impl Anatomy {
    /// Reads as much of the file as possible.
    pub fn of(bytes: &[u8]) -> Self {
        let mut anatomy = Self {
            form: FileForm::of(bytes),
            imports: Vec::new(),
            exports: Vec::new(),
            sections: BTreeMap::new(),
            producers: BTreeMap::new(),
            memory: 0,
            broken: None,
        };
        if matches!(anatomy.form, FileForm::Component | FileForm::Module) {
            let read = anatomy.read(bytes);
            anatomy.broken = read.err().map(|error| clean(&error.to_string()));
        }
        anatomy
    }

    /// True if the functions have names, so that a trap names the function.
    pub fn has_names(&self) -> bool {
        self.sections.contains_key("name") || self.has_lines()
    }

    /// True if there is debug information, so that a trap names the line.
    pub fn has_lines(&self) -> bool {
        self.sections.contains_key(".debug_line")
    }

    fn read(&mut self, bytes: &[u8]) -> wasmparser::Result<()> {
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                // Modules and components within a component have a version of their own.
                Payload::Version { encoding, .. } => {
                    depth += 1;
                    if depth == 1 && encoding == Encoding::Module {
                        self.form = FileForm::Module;
                    }
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 1 => {
                    for import in imports {
                        note(&mut self.imports, import?.name.name);
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 1 => {
                    for export in exports {
                        note(&mut self.exports, export?.name.name);
                    }
                }
                Payload::MemorySection(memories) => {
                    for memory in memories {
                        let memory = memory?;
                        let page = 1_u64.checked_shl(memory.page_size_log2.unwrap_or(16)).unwrap_or(u64::MAX);
                        self.memory = self.memory.saturating_add(memory.initial.saturating_mul(page));
                    }
                }
                Payload::CustomSection(section) => {
                    let name = clean(section.name());
                    if self.sections.len() < MOST || self.sections.contains_key(&name) {
                        *self.sections.entry(name).or_default() += section.data().len();
                    }
                    if let KnownCustom::Producers(fields) = section.as_known() {
                        // Producers are optional, so a fault in them does not matter.
                        let _ = self.note_producers(fields);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn note_producers(&mut self, fields: ProducersSectionReader<'_>) -> wasmparser::Result<()> {
        for field in fields {
            let field = field?;
            let makers = self.producers.entry(clean(field.name)).or_default();
            for maker in field.values {
                let maker = maker?;
                if makers.len() < MOST {
                    makers.insert(clean(format!("{} {}", maker.name, maker.version).trim()));
                }
            }
        }
        Ok(())
    }
}

fn note(names: &mut Vec<String>, name: &str) {
    if names.len() < MOST {
        names.push(clean(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_component_is_described() {
        for (bytes, form) in [
            (&b""[..], FileForm::Empty),
            (b"\0asm\x01\0\0\0", FileForm::Module),
            (b"\0asm\x0d\0\x01\0", FileForm::Component),
            (b"\n (module)", FileForm::Text),
            (b"#!/bin/sh\n", FileForm::Other),
            (b"\0as", FileForm::Other),
        ] {
            let anatomy = Anatomy::of(bytes);
            assert_eq!(anatomy.form, form, "{bytes:?}");
            assert_eq!(anatomy.form.is_no_component().is_none(), form == FileForm::Component);
            assert_eq!(anatomy.broken, None, "{bytes:?}");
        }
        assert!(Anatomy::of(b"\0asm\x0d\0\x01\0\x01\xff").broken.is_some(), "it ends in the middle");
    }
}
