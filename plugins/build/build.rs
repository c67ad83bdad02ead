//! Embeds the parts of a new project: the templates, the WIT package, and the SDK as a separate crate.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};
use toml::{Table, Value};

fn main() -> Result<()> {
    let manifest_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = manifest_dir.join("../..").canonicalize()?;
    let mut embedded = String::new();
    embed(&mut embedded, "TEMPLATES", &manifest_dir.join("templates"))?;
    embed(&mut embedded, "WIT", &root.join("wit"))?;
    embed(&mut embedded, "SDK", &root.join("plugins/sdk/src"))?;
    for (name, text) in [("SDK_MANIFEST", sdk_manifest(&root)?), ("SDK_LOCK", sdk_lock(&root)?)] {
        writeln!(embedded, "/// Made from the workspace's.\npub(crate) const {name}: &str = {text:?};")?;
    }
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("embedded.rs"), embedded)?;
    Ok(())
}

/// A constant with the path and the content of every file below `directory`.
fn embed(out: &mut String, name: &str, directory: &Path) -> Result<()> {
    println!("cargo:rerun-if-changed={}", directory.display());
    let mut files = Vec::new();
    collect(directory, &mut files)?;
    files.sort();
    writeln!(out, "/// Paths and contents.\npub(crate) const {name}: &[(&str, &[u8])] = &[")?;
    for file in files {
        let path = file.strip_prefix(directory)?.to_str().context("a path is text")?;
        writeln!(out, "    ({path:?}, include_bytes!({:?})),", file.to_str().context("a path is text")?)?;
    }
    writeln!(out, "];")?;
    Ok(())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        match path.is_dir() {
            true => collect(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

/// The SDK's manifest, in which the values of the workspace replace references to it.
fn sdk_manifest(root: &Path) -> Result<String> {
    let workspace = read(&root.join("Cargo.toml"))?;
    let workspace = workspace.get("workspace").and_then(Value::as_table).context("a workspace")?;
    let mut manifest = read(&root.join("plugins/sdk/Cargo.toml"))?;
    manifest.remove("lints");
    manifest.remove("dev-dependencies");
    if let Some(Value::Table(package)) = manifest.get_mut("package") {
        // What it is published with.
        ["include", "readme"].into_iter().for_each(|key| drop(package.remove(key)));
    }
    write_out(&mut manifest, workspace)?;
    Ok(toml::to_string(&manifest)?)
}

fn write_out(table: &mut Table, workspace: &Table) -> Result<()> {
    for (name, value) in table {
        let Value::Table(own) = value else { continue };
        if own.remove("workspace").is_none() {
            let below = match name.as_str() {
                "package" => "package",
                "dependencies" => "dependencies",
                _ => {
                    write_out(own, workspace)?;
                    continue;
                }
            };
            let shared =
                workspace.get(below).and_then(Value::as_table).context("a table of the workspace")?;
            for (key, value) in own {
                inherit(key, value, shared)?;
            }
        }
    }
    Ok(())
}

/// Replaces `key.workspace = true` with the value in the workspace, and keeps the other members.
fn inherit(key: &str, value: &mut Value, shared: &Table) -> Result<()> {
    let Value::Table(own) = &*value else { return Ok(()) };
    if !own.contains_key("workspace") {
        return Ok(());
    }
    let mut whole = match shared.get(key).with_context(|| format!("the workspace has no {key}"))? {
        Value::Table(whole) => whole.clone(),
        plain if own.len() == 1 => {
            *value = plain.clone();
            return Ok(());
        }
        plain => Table::from_iter([("version".to_owned(), plain.clone())]),
    };
    for (name, more) in own.iter().filter(|(name, _)| *name != "workspace") {
        match (whole.get_mut(name), more) {
            (Some(Value::Array(features)), Value::Array(more)) => features.extend(more.iter().cloned()),
            _ => drop(whole.insert(name.clone(), more.clone())),
        }
    }
    *value = Value::Table(whole);
    Ok(())
}

/// The part of the workspace's lock file that the SDK needs, so that new projects use the tested versions.
fn sdk_lock(root: &Path) -> Result<String> {
    let lock = read(&root.join("Cargo.lock"))?;
    let packages = lock.get("package").and_then(Value::as_array).context("packages")?;
    let mut wanted = vec!["witgate-plugin".to_owned()];
    let mut found: Vec<&Value> = Vec::new();
    while let Some(name) = wanted.pop() {
        let mut parts = name.split(' ');
        let (name, version) = (parts.next(), parts.next());
        let fits = |package: &&Value| {
            let says = |key: &str| package.get(key).and_then(Value::as_str);
            says("name") == name && (version.is_none() || says("version") == version)
        };
        let package = packages.iter().find(fits).context("a package of the lock file")?;
        if found.contains(&package) {
            continue;
        }
        found.push(package);
        let needs = package.get("dependencies").and_then(Value::as_array);
        wanted.extend(needs.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    }
    found.sort_by_key(|package| package.get("name").and_then(Value::as_str));
    let part = Table::from_iter([
        ("version".to_owned(), lock.get("version").context("a version")?.clone()),
        ("package".to_owned(), Value::Array(found.into_iter().cloned().collect())),
    ]);
    Ok(toml::to_string(&part)?)
}

fn read(file: &Path) -> Result<Table> {
    println!("cargo:rerun-if-changed={}", file.display());
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    text.parse().with_context(|| file.display().to_string())
}
