//! `witgate plugin`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use witgate_plugin::Description;

use super::terminal::table;
use super::{Context, Exit, Failure, full, runtime};
use crate::config::PolicyKind;
use crate::config::resolve::{self, Outline, settings_schema};
use crate::plugin::compile::Compiler;
use crate::plugin::engine::Engine;
use crate::plugin::load::{Loaded, Loader};
use crate::policy::describe_component;
use crate::provenance::Provenance;
use crate::server::control;
use crate::services::digest_text;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show the policies of the running Witgate: which component, which fallback, why no newer one
    List,
    /// Go back to an earlier generation of policies, at once; keys and secrets stay as they are now
    Rollback {
        /// Its number, as `plugin list` shows it [default: the last one that was made from something else]
        #[arg(long, value_name = "N")]
        to: Option<u64>,
    },
    /// Show where policies with `mode = "shadow"` would have decided otherwise
    Diff,
    /// Show what a plugin is, what it imports, and the schema of its settings
    Inspect {
        /// A component file, a policy of the configuration, or a kind such as `rbac`
        plugin: String,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::List => list(context),
        Command::Rollback { to } => rollback(context, to),
        Command::Diff => diff(context),
        Command::Inspect { plugin } => inspect(context, &plugin),
    }?;
    Ok(Exit::Done)
}

fn list(context: &Context) -> Result<(), Failure> {
    let status = control::ask(&socket(context)?, &control::Command::PluginList).map_err(Failure::new)?;
    match context.terminal.is_json() {
        true => context.terminal.print_json(&status),
        false => context.terminal.print(&listing(&status)),
    }
    Ok(())
}

fn rollback(context: &Context, to: Option<u64>) -> Result<(), Failure> {
    let done =
        control::ask(&socket(context)?, &control::Command::PluginRollback { to }).map_err(Failure::new)?;
    if context.terminal.is_json() {
        context.terminal.print_json(&done);
        return Ok(());
    }
    let (to, live) = (cell(&done, "rolled_back_to"), cell(&done, "generation"));
    context.terminal.print(&format!("Generation {live} is live: it is generation {to} again."));
    context.terminal.say(match done.get("unkept").and_then(Value::as_str) {
        Some(unkept) => unkept,
        None => "It stays, also over a restart, until the configuration or a component changes again.",
    });
    Ok(())
}

fn diff(context: &Context) -> Result<(), Failure> {
    let found = control::ask(&socket(context)?, &control::Command::PluginDiff).map_err(Failure::new)?;
    match context.terminal.is_json() {
        true => context.terminal.print_json(&found),
        false => context.terminal.print(&differences(&found)),
    }
    Ok(())
}

fn differences(found: &Value) -> String {
    let items = |of: &Value, name: &str| of.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let shadows = items(found, "shadows");
    if shadows.is_empty() {
        return "no policy of the live generation has `mode = \"shadow\"`".to_owned();
    }
    let texts = shadows.iter().map(|shadow| {
        let [name, calls, disagreements, shed] =
            ["policy", "calls", "disagreements", "shed"].map(|column| cell(shadow, column));
        let head = format!("{name}: {disagreements} of {calls} otherwise, {shed} not asked");
        let columns = ["count", "upstream", "method", "target", "live", "shadow"];
        let row = |kind: &Value| columns.iter().map(|column| cell(kind, column)).collect();
        let rows: Vec<Vec<String>> = items(shadow, "kinds").iter().map(row).collect();
        match rows.is_empty() {
            true => head,
            false => format!(
                "{head}\n\n{}",
                table(&columns.map(str::to_uppercase).each_ref().map(String::as_str), &rows)
            ),
        }
    });
    texts.collect::<Vec<_>>().join("\n\n")
}

/// Where the Witgate with this configuration listens. Nothing else of the configuration has to be
/// good: it may be broken just now, which is when one looks.
pub(super) fn socket(context: &Context) -> Result<PathBuf, Failure> {
    let Some(path) = context.config_path() else {
        return Err(Failure::new(
            "there is no configuration file, and a Witgate without one has no control socket; name one with `--config FILE`",
        ));
    };
    let outline = Outline::recover(&path).map_err(Failure::Config)?;
    Ok(outline.control())
}

fn listing(status: &Value) -> String {
    let policies = status.get("policies").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let columns = [
        "name",
        "kind",
        "mode",
        "source",
        "version",
        "digest",
        "state",
        "calls",
        "denials",
        "failures",
        "fallbacks",
        "p50_us",
        "p99_us",
        "instances",
    ];
    let rows: Vec<Vec<String>> =
        policies.iter().map(|policy| columns.iter().map(|column| cell(policy, column)).collect()).collect();
    let titles: Vec<_> = columns.iter().map(|column| column.to_uppercase()).collect();
    let titles: Vec<_> = titles.iter().map(String::as_str).collect();
    let mut text =
        format!("generation {} since {}\n\n", cell(status, "generation"), time(status.get("since")));
    text.push_str(&table(&titles, &rows));
    for policy in
        policies.iter().filter(|policy| policy.get("state").is_some_and(|state| state == "fallback"))
    {
        let line = format!(
            "\n\nFALLBACK: the built-in decides for `{}`: {}",
            cell(policy, "name"),
            cell(policy, "error")
        );
        text.push_str(&line);
    }
    if let Some(to) = status.get("rolled_back_to").and_then(Value::as_u64) {
        text.push_str(&format!(
            "\n\nROLLBACK: this is generation {to} again, until the configuration or a component changes"
        ));
    }
    text.push_str(&earlier(status));
    let last = status.get("last_change").filter(|last| !last.is_null());
    let errors = last.and_then(|last| last.get("errors")?.as_array());
    for error in errors.into_iter().flatten().filter_map(Value::as_str) {
        let at = time(last.and_then(|last| last.get("at")));
        text.push_str(&format!(
            "\n\nThe change of {at} was refused, and the generation above stays: {error}"
        ));
    }
    text
}

/// What `plugin rollback --to N` can go back to.
fn earlier(status: &Value) -> String {
    let kept = status.get("generations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let earlier: Vec<_> = kept
        .iter()
        .rev()
        .skip(1)
        .map(|kept| {
            let repeats = kept.get("repeats").and_then(Value::as_u64);
            let repeats = repeats.map(|origin| format!(" ({origin} again)")).unwrap_or_default();
            format!("{}{repeats} since {}", cell(kept, "generation"), time(kept.get("since")))
        })
        .collect();
    match earlier.is_empty() {
        true => String::new(),
        false => format!("\n\nEarlier generations: {}", earlier.join(", ")),
    }
}

/// Seconds since the Unix epoch, as people read them.
fn time(seconds: Option<&Value>) -> String {
    seconds.and_then(Value::as_u64).map_or_else(
        || "-".to_owned(),
        |seconds| {
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            humantime::format_rfc3339_seconds(at).to_string()
        },
    )
}

fn cell(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        // The whole digest is in the JSON.
        Some(Value::String(text)) if name == "digest" => text.chars().take("sha256:".len() + 12).collect(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn inspect(context: &Context, plugin: &str) -> Result<(), Failure> {
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
    Ok(())
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
