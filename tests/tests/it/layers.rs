//! The order of the host's crates, and of the modules in each crate.

mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use imports::{Imports, Module, read};
use toml::Table;

/// The crates of `host/`, from the ground up, each with those that it knows of all before it.
const CRATES: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("pages", &["base"]),
    ("runtime", &["base"]),
    ("audit", &["base"]),
    ("message", &["base"]),
    ("config", &["base", "audit"]),
    ("services", &["base", "runtime", "config"]),
    ("credentials", &["base", "runtime", "config", "services"]),
    ("accounts", &["base", "pages", "runtime", "config", "services", "credentials"]),
    ("component", &["base", "runtime", "config", "services"]),
    ("policy", &["base", "runtime", "config", "services", "component"]),
    (
        "flow",
        &["base", "runtime", "audit", "message", "config", "services", "credentials", "component", "policy"],
    ),
    ("upstream", &["base", "runtime", "message", "config", "services", "credentials", "flow"]),
    ("endpoints", &["base", "runtime", "message", "config", "policy", "flow"]),
    ("server", &["base", "pages", "runtime", "message", "config", "credentials", "policy", "flow"]),
    ("cases", &["base", "config", "services", "component", "policy"]),
];

/// Crates that only some may depend on: the runtime of components, and input and output.
const RESERVED: &[(&str, &[&str])] = &[
    ("wasmtime", &["component"]),
    ("wasmtime-wasi", &["component"]),
    ("wasmparser", &["component"]),
    (
        "tokio",
        &[
            "runtime",
            "audit",
            "services",
            "credentials",
            "accounts",
            "component",
            "policy",
            "flow",
            "upstream",
            "endpoints",
            "server",
            "cases",
        ],
    ),
    ("hyper", &["flow", "upstream", "server"]),
    ("tokio-rustls", &["server"]),
    ("rmcp", &["upstream"]),
    ("notify", &[]),
    ("clap", &[]),
];

/// The order of the modules of `witgate` itself. A name stands for a module and all in it.
const LAYERS: &[&[&str]] = &[
    &["routes", "access"],
    &["config", "account_pages", "loopback", "operation", "outgoing_checkpoints"],
    &["caller_tools", "reload", "revocation"],
    &["accounts", "admin", "control", "traces"],
    &["serve"],
    &["embed"],
    &["cli"],
    &["main"],
];

/// The crates whose modules are looked at, `witgate` first.
fn roots() -> Vec<PathBuf> {
    let others = [
        "plugins/sdk",
        "plugins/build",
        "plugins/stores",
        "plugins/api-key",
        "plugins/basic",
        "plugins/client-certificate",
        "plugins/jwt",
        "plugins/oauth2-introspection",
        "plugins/rbac",
        "tests",
        "tests/checks",
        "host/testing",
    ];
    let host = ["host".to_owned()].into_iter().chain(CRATES.iter().map(|(name, _)| format!("host/{name}")));
    let libraries = host.chain(others.map(str::to_owned)).map(|folder| format!("{folder}/src/lib.rs"));
    libraries.chain(["xtask/src/main.rs".to_owned()]).map(|root| workspace().join(root)).collect()
}

#[test]
fn each_crate_depends_only_on_the_listed_ones_below_it() -> Result<()> {
    for (name, known) in CRATES {
        let dependencies = dependencies(name)?;
        let host = dependencies.iter().filter_map(|dependency| dependency.strip_prefix("witgate-"));
        let of_host: BTreeSet<_> =
            host.filter(|other| CRATES.iter().any(|(name, _)| name == other)).collect();
        assert_eq!(of_host, known.iter().copied().collect(), "host/{name}/Cargo.toml");
        let place = |name: &str| CRATES.iter().position(|(other, _)| *other == name);
        assert!(known.iter().all(|other| place(other) < place(name)), "{name} is below one that it knows");
    }
    Ok(())
}

#[test]
fn reserved_dependencies_are_used_only_by_their_crates() -> Result<()> {
    for (name, _) in CRATES {
        let dependencies = dependencies(name)?;
        for (reserved, owners) in RESERVED {
            let may = owners.contains(name);
            assert!(may || !dependencies.contains(*reserved), "host/{name} depends on {reserved}");
        }
    }
    Ok(())
}

#[test]
fn unsafe_code_is_forbidden_in_all_crates_but_one() -> Result<()> {
    for root in roots().into_iter().filter(|root| root.starts_with(workspace().join("host"))) {
        let forbids = fs::read_to_string(&root)?.contains("#![forbid(unsafe_code)]");
        let is_component = root.ends_with("host/component/src/lib.rs");
        assert_eq!(forbids, !is_component, "{}", root.display());
    }
    Ok(())
}

#[test]
fn no_import_points_upwards() -> Result<()> {
    let imports = read(&workspace().join("host/src/lib.rs"))?;
    let mut back = Vec::new();
    for (from, to) in pairs(&imports) {
        if layer(from)? < layer(to)? {
            back.push((from.as_str(), to.as_str()));
        }
    }
    assert!(back.is_empty(), "imports that run back up: {back:?}");
    Ok(())
}

#[test]
fn no_modules_import_each_other_in_a_circle() -> Result<()> {
    let mut found = Vec::new();
    for root in roots() {
        found.extend(circles(&read(&root)?));
    }
    assert!(found.is_empty(), "modules that import each other in a circle: {found:?}");
    Ok(())
}

#[test]
fn a_circle_is_found_in_every_notation() -> Result<()> {
    let ways = [
        "use crate::b::{self, X};",
        "use super::b::X;",
        "fn f() -> super::b::X { todo!() }",
        "use crate::X;",
    ];
    for way in ways {
        let dir = tempfile::tempdir()?;
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text);
        write("lib.rs", "mod a; mod b; pub use b::X; #[cfg(test)] mod tests;")?;
        write("a.rs", way)?;
        write("b.rs", "pub struct X; #[cfg(test)] mod tests { use crate::a; } fn g() { crate::a::f(); }")?;
        let found = circles(&read(&dir.path().join("lib.rs"))?);
        assert_eq!(found, BTreeSet::from([vec!["a".to_owned(), "b".to_owned()]]), "{way}");
        write("b.rs", "pub struct X; #[cfg(test)] mod tests { use crate::a; }")?;
        assert!(
            circles(&read(&dir.path().join("lib.rs"))?).is_empty(),
            "what tests import is no circle: {way}"
        );
    }
    Ok(())
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The dependencies of a crate of `host/`, those of its tests left out.
fn dependencies(name: &str) -> Result<BTreeSet<String>> {
    let path = workspace().join("host").join(name).join("Cargo.toml");
    let manifest: Table = fs::read_to_string(&path)?.parse()?;
    let table = manifest.get("dependencies").and_then(|table| table.as_table());
    Ok(table.context("no dependencies")?.keys().cloned().collect())
}

fn pairs(imports: &Imports) -> impl Iterator<Item = (&Module, &Module)> {
    imports.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to)))
}

/// Groups of modules each of which leads, by imports, to every other one of its group.
fn circles(imports: &Imports) -> BTreeSet<Vec<String>> {
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        imports.keys().map(|from| (from.as_str(), reached(imports, from))).collect();
    let mut circles = BTreeSet::new();
    for (from, reached) in &reach {
        let circle: Vec<String> =
            reached.iter().filter(|to| reach[*to].contains(from)).map(|to| (*to).to_owned()).collect();
        if !circle.is_empty() {
            circles.insert(circle);
        }
    }
    circles
}

/// The modules that one leads to, over others too.
fn reached<'a>(imports: &'a Imports, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = imports.get(from).into_iter().flatten().map(String::as_str).collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(imports.get(module).into_iter().flatten().map(String::as_str));
        }
    }
    reached
}

/// The place of a module in [`LAYERS`].
fn layer(module: &str) -> Result<usize> {
    let top = module.split("::").next().unwrap_or_default();
    LAYERS.iter().position(|names| names.contains(&top)).with_context(|| format!("add `{module}` to a layer"))
}
