//! The order of the host's modules: a module imports those of its own layer and of those below.

mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use imports::{Imports, Module, read};

/// From the ground up. A name stands for a module and all in it that is not named by itself.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "base",
        &[
            "breaker",
            "cause",
            "clock",
            "descriptors",
            "digest",
            "fingerprints",
            "leftovers",
            "lines",
            "memory",
            "metrics",
            "party",
            "peer",
            "pem",
            "printable",
            "processes",
            "shares",
            "signing",
            "log",
            "whole_file",
            "zone",
        ],
    ),
    ("message", &["message"]),
    ("config", &["config", "key_store", "provenance"]),
    ("network", &["network"]),
    ("services", &["services"]),
    ("plugin", &["plugin"]),
    ("policy", &["policy"]),
    ("generation", &["generation"]),
    ("flow", &["flow"]),
    ("upstream", &["upstream"]),
    ("server", &["server"]),
    ("cases", &["cases"]),
    ("factory", &["factory"]),
    ("reload", &["reload"]),
    ("control", &["admin", "control"]),
    ("status", &["status"]),
    ("serve", &["serve"]),
    ("embed", &["embed"]),
    ("cli", &["cli"]),
    ("main", &["main"]),
];

/// The crates that are looked at, the host first.
const ROOTS: [&str; 11] = [
    "host/src/lib.rs",
    "plugins/sdk/src/lib.rs",
    "plugins/build/src/lib.rs",
    "plugins/api-key/src/lib.rs",
    "plugins/client-certificate/src/lib.rs",
    "plugins/jwt/src/lib.rs",
    "plugins/oauth2-introspection/src/lib.rs",
    "plugins/rbac/src/lib.rs",
    "tests/src/lib.rs",
    "tests/checks/src/lib.rs",
    "xtask/src/main.rs",
];

#[test]
fn no_import_runs_back_up() -> Result<()> {
    let imports = imports(ROOTS[0])?;
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
    for root in ROOTS {
        found.extend(circles(&imports(root)?));
    }
    assert!(found.is_empty(), "modules that import each other in a circle: {found:?}");
    Ok(())
}

#[test]
fn a_circle_is_found_however_it_is_written() -> Result<()> {
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

fn imports(root: &str) -> Result<Imports> {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(root))
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

/// The place of a module in [`LAYERS`], by the longest name that it is in.
fn layer(module: &str) -> Result<usize> {
    let is_in =
        |name: &str| module.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let names = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(place, (_, names))| names.iter().map(move |name| (place, *name)));
    let longest = names.filter(|(_, name)| is_in(name)).max_by_key(|(_, name)| name.len());
    longest.map(|(place, _)| place).with_context(|| format!("add `{module}` to a layer"))
}
