//! The modules of a crate, and who imports whom, read from its source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, UseTree, Visibility};

/// A module, as a path from the root of the crate: `message::headers`. The root itself is empty.
pub(super) type Module = String;

/// The imports of each module. The code of tests is left out.
pub(super) type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// Reads the imports of the crate with this root file, inline modules counting for the file they are in.
pub(super) fn read(root: &Path) -> Result<Imports> {
    let mut files = BTreeMap::new();
    gather(root, root.parent().context("no folder")?, String::new(), &mut files)?;
    let found: BTreeMap<Module, Found> =
        files.iter().map(|(module, file)| (module.clone(), Found::read(module, file, &files))).collect();
    let imports = found.iter().map(|(module, paths)| (module.clone(), imported(module, paths, &found)));
    Ok(imports.collect())
}

/// Reads one file, and those of its modules that are files. `folder` is where the latter are.
fn gather(path: &Path, folder: &Path, module: Module, files: &mut BTreeMap<Module, syn::File>) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let file = syn::parse_file(&text).with_context(|| path.display().to_string())?;
    for item in &file.items {
        let Item::Mod(child) = item else { continue };
        if child.content.is_some() || is_for_tests(&child.attrs) {
            continue;
        }
        let name = child.ident.to_string();
        let inside = folder.join(&name);
        let alone = folder.join(format!("{name}.rs"));
        let path = if alone.is_file() { alone } else { inside.join("mod.rs") };
        gather(&path, &inside, join(&module, &name), files)?;
    }
    files.insert(module, file);
    Ok(())
}

/// The modules that one module imports.
fn imported(module: &str, paths: &Found, all: &BTreeMap<Module, Found>) -> BTreeSet<Module> {
    let imported = paths.imports.iter().filter_map(|path| home(path, all));
    imported.filter(|imported| imported != module).collect()
}

/// The module with a file of its own that an item is in, also where another one exports it.
fn home(path: &[String], all: &BTreeMap<Module, Found>) -> Option<Module> {
    let (module, rest) = split(path, all);
    let exported = rest.first().and_then(|name| all.get(&module)?.exports.get(name));
    match exported {
        Some(path) => home(path, all),
        None => Some(module).filter(|module| !module.is_empty()),
    }
}

/// The longest part of a path that is a module with a file of its own, and the rest.
fn split<'a>(path: &'a [String], all: &BTreeMap<Module, Found>) -> (Module, &'a [String]) {
    let lengths = (0..=path.len()).rev();
    let mut splits = lengths.map(|length| (path[..length].join("::"), &path[length..]));
    splits.find(|(module, _)| all.contains_key(module)).unwrap_or_default()
}

/// The name of `other` within `module`, if it is directly in it.
fn child_of(module: &str, other: &str) -> Option<String> {
    let name = if module.is_empty() { other } else { other.strip_prefix(module)?.strip_prefix("::")? };
    (!name.is_empty() && !name.contains("::")).then(|| name.to_owned())
}

fn join(module: &str, name: &str) -> Module {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        list.path.is_ident("cfg") && list.tokens.to_string() == "test"
    })
}

/// The paths within the crate that one file names, each from the root of the crate.
#[derive(Default)]
struct Found {
    imports: BTreeSet<Vec<String>>,
    /// Names that the file passes on as its own, and what they stand for.
    exports: BTreeMap<String, Vec<String>>,
}

impl Found {
    fn read(module: &str, file: &syn::File, files: &BTreeMap<Module, syn::File>) -> Self {
        let children = files.keys().filter_map(|other| child_of(module, other)).collect();
        let mut reader = Reader { module, children, depth: 0, found: Self::default() };
        reader.visit_file(file);
        reader.found
    }
}

struct Reader<'a> {
    module: &'a str,
    /// The modules in this one that have files of their own.
    children: BTreeSet<String>,
    /// The nesting of inline modules at the current item.
    depth: usize,
    found: Found,
}

impl Reader<'_> {
    /// A path as it is written, from the root of the crate; nothing if it leads out of the crate or stays in the file.
    fn path_from_root(&self, path: &[String]) -> Option<Vec<String>> {
        let mut here: Vec<&str> = self.module.split("::").filter(|name| !name.is_empty()).collect();
        let ups = path.iter().take_while(|name| *name == "super").count();
        let rest = match path.first()?.as_str() {
            "crate" => {
                here.clear();
                &path[1..]
            }
            "self" if self.depth == 0 => &path[1..],
            "super" if ups >= self.depth => {
                here.truncate(here.len().checked_sub(ups - self.depth)?);
                &path[ups..]
            }
            name if self.children.contains(name) && self.depth == 0 => path,
            _ => return None,
        };
        Some(here.into_iter().map(str::to_owned).chain(rest.iter().cloned()).collect())
    }

    fn tree(&mut self, so_far: &[String], tree: &UseTree, export: bool) {
        let with = |name: &syn::Ident| [so_far, &[name.to_string()]].concat();
        let (path, name) = match tree {
            UseTree::Path(path) => return self.tree(&with(&path.ident), &path.tree, export),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.tree(so_far, tree, export));
            }
            UseTree::Name(name) => (with(&name.ident), Some(name.ident.to_string())),
            UseTree::Rename(name) => (with(&name.ident), Some(name.rename.to_string())),
            UseTree::Glob(_) => (so_far.to_vec(), None),
        };
        let Some(path) = self.path_from_root(&path) else { return };
        match name.filter(|_| export) {
            Some(name) => drop(self.found.exports.insert(name, path)),
            None => drop(self.found.imports.insert(path)),
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Const(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            _ => &[],
        };
        if is_for_tests(attributes) {
            return;
        }
        let inline = matches!(item, Item::Mod(item) if item.content.is_some());
        self.depth += usize::from(inline);
        visit::visit_item(self, item);
        self.depth -= usize::from(inline);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    /// `pub(in crate::policy)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let export = self.depth == 0 && !matches!(item.vis, Visibility::Inherited);
        self.tree(&[], &item.tree, export);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if path.leading_colon.is_none() && names.len() > 1 {
            self.found.imports.extend(self.path_from_root(&names));
        }
        visit::visit_path(self, path);
    }
}
