//! `witgate plugin inspect`: what a plugin is.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use witgate_plugin::Description;

use crate::cli::{Context, Exit, Failure, full, runtime};
use crate::config::PolicyKind;
use crate::config::resolve::{self, Outline, settings_schema};
use crate::plugin::compile::Compiler;
use crate::plugin::engine::Engine;
use crate::plugin::load::{Loaded, Loader};
use crate::policy::describe_component;
use crate::provenance::Provenance;
use crate::services::digest_text;

pub(super) fn run(context: &Context, plugin: &str) -> Result<Exit, Failure> {
    const SHIPPED: [PolicyKind; 5] = [
        PolicyKind::ApiKey,
        PolicyKind::Jwt,
        PolicyKind::Introspection,
        PolicyKind::ClientCertificate,
        PolicyKind::Rbac,
    ];
    let found = match SHIPPED.into_iter().find(|kind| kind.name() == plugin) {
        Some(kind) => builtin(kind),
        None => match of_policy(context, plugin)? {
            Some(Named::Builtin(kind)) => builtin(kind),
            Some(Named::Component(path)) => component(&path)?,
            None => component(Path::new(plugin))?,
        },
    };
    match context.terminal.is_json() {
        true => context.terminal.print_json(&found),
        false => context.terminal.print(&described(&found)),
    }
    Ok(Exit::Done)
}

enum Named {
    Builtin(PolicyKind),
    Component(PathBuf),
}

/// What a policy of the configuration is made of, if there is one of that name.
fn of_policy(context: &Context, name: &str) -> Result<Option<Named>, Failure> {
    let Some(path) = context.config_path() else { return Ok(None) };
    let outline = Outline::read(&path).map_err(Failure::Config)?;
    Ok(outline.file.policies.get(name).map(|policy| match &policy.component {
        Some(component) => Named::Component(outline.base.join(component)),
        None => Named::Builtin(policy.kind.into()),
    }))
}

fn builtin(kind: PolicyKind) -> Value {
    let description = resolve::description(kind);
    json!({
        "source": "built-in",
        "name": kind.name(),
        "version": description.as_ref().map(|it| &it.version),
        "summary": description.as_ref().map(|it| &it.summary),
        "config_schema": settings_schema(kind),
    })
}

fn component(path: &Path) -> Result<Value, Failure> {
    let engine = Engine::new().map_err(|error| Failure::new(error.to_string()))?;
    let loader = Loader::new(engine, Compiler::own(), None);
    let loaded = runtime()?.block_on(loader.load(path, &Provenance::default()));
    let loaded = loaded.map_err(|error| Failure::new(error.to_string()))?;
    let kind = loaded.component.component_type();
    let inner = loader.engine().inner();
    let description = describe(&loader, &loaded)?;
    let schema = description.as_ref().and_then(|it| serde_json::from_str::<Value>(&it.config_schema).ok());
    Ok(json!({
        "source": "component",
        "path": full(path),
        "digest": digest_text(&loaded.digest),
        "name": description.as_ref().map(|it| &it.name),
        "version": description.as_ref().map(|it| &it.version),
        "summary": description.as_ref().map(|it| &it.summary),
        "imports": kind.imports(inner).map(|(name, _)| name.to_owned()).collect::<Vec<_>>(),
        "exports": kind.exports(inner).map(|(name, _)| name.to_owned()).collect::<Vec<_>>(),
        "config_schema": schema,
    }))
}

/// What the component says of itself. One that is not for this host has imports and exports all
/// the same, which is what its author needs to see.
fn describe(loader: &Loader, loaded: &Loaded) -> Result<Option<Description>, Failure> {
    match runtime()?.block_on(describe_component(loader.engine(), loaded)) {
        Ok(description) => Ok(Some(description)),
        Err(error) => {
            tracing::warn!("{error}");
            Ok(None)
        }
    }
}

fn described(found: &Value) -> String {
    let mut lines = Vec::new();
    for name in ["name", "version", "summary", "source", "path", "digest"] {
        if let Some(text) = found.get(name).and_then(Value::as_str) {
            lines.push(format!("{:<9}{text}", format!("{name}:")));
        }
    }
    for name in ["imports", "exports"] {
        let items = found.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let items: Vec<_> = items.map(|item| format!("  {item}")).collect();
        if !items.is_empty() {
            lines.push(format!("{name}:\n{}", items.join("\n")));
        }
    }
    if let Some(schema) = found.get("config_schema").filter(|schema| !schema.is_null()) {
        lines.push(format!("settings (JSON Schema):\n{schema:#}"));
    }
    lines.join("\n")
}
