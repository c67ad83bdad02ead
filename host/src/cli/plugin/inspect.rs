//! `witgate plugin inspect`: describes a plugin. For a plugin that cannot be used, it prints the part that can be
//! read, and the fault.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use witgate_plugin::Description;

use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::runtime::runtime;
use witgate_base::digest::{digest_text, sha256};
use witgate_base::path::absolute;
use witgate_base::provenance::Provenance;
use witgate_component::anatomy::{Anatomy, FileForm};
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::grants::{self, Need};
use witgate_component::instance::{PACKAGE, VERSION, world_of};
use witgate_component::load::{self, Loader};
use witgate_component::settings::Schema;
use witgate_config::resolve::{self, Outline, settings_schema};
use witgate_config::{Limits, PolicyKind};
use witgate_policy::describe_component;

pub(super) fn run(context: &Context, plugin: &str) -> Result<Exit, CommandFailure> {
    const SHIPPED: [PolicyKind; 6] = [
        PolicyKind::ApiKey,
        PolicyKind::Basic,
        PolicyKind::Jwt,
        PolicyKind::Introspection,
        PolicyKind::ClientCertificate,
        PolicyKind::Rbac,
    ];
    let found = match SHIPPED.into_iter().find(|kind| kind.name() == plugin) {
        Some(kind) => builtin(kind),
        None => match of_policy(context, plugin)? {
            Some(PluginChoice::Builtin(kind)) => builtin(kind),
            Some(PluginChoice::Component(path)) => component(&path)?,
            None => component(Path::new(plugin))?,
        },
    };
    let problem = found.get("problem").and_then(Value::as_str);
    match context.terminal.is_json() {
        true => context.terminal.print_json(&found),
        false => context.terminal.print(&described(&found)),
    }
    match problem {
        None => Ok(Exit::Done),
        Some(problem) => {
            context.terminal.say(&format!("witgate: it cannot be used as a policy: {problem}"));
            Ok(Exit::No)
        }
    }
}

enum PluginChoice {
    Builtin(PolicyKind),
    Component(PathBuf),
}

/// Finds the component of the configured policy with that name.
fn of_policy(context: &Context, name: &str) -> Result<Option<PluginChoice>, CommandFailure> {
    let Some(path) = context.config_path() else { return Ok(None) };
    let outline = Outline::read(&path).map_err(CommandFailure::Config)?;
    Ok(outline.file.policies.get(name).map(|policy| match &policy.component {
        Some(component) => PluginChoice::Component(outline.base.join(component)),
        None => PluginChoice::Builtin(policy.kind.into()),
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

fn component(path: &Path) -> Result<Value, CommandFailure> {
    let bytes = load::read_bytes(path).map_err(|error| CommandFailure::new(error.to_string()))?;
    let anatomy = Anatomy::of(&bytes);
    let asked = ask(path)?;
    let description = asked.description.as_ref();
    Ok(json!({
        "source": "component",
        "path": absolute(path),
        "size": bytes.len(),
        "digest": digest_text(&sha256(&bytes)),
        "form": form(anatomy.form),
        "name": description.map(|it| &it.name),
        "version": description.map(|it| &it.version),
        "summary": description.map(|it| &it.summary),
        "world": world_of(&anatomy.exports).ok(),
        "package": package(&anatomy),
        "imports": anatomy.imports,
        "needs": needs(&anatomy.imports),
        "grants": grants_for(&anatomy.imports),
        "exports": anatomy.exports,
        "memory": anatomy.memory,
        "producers": anatomy.producers,
        "names": anatomy.has_names(),
        "lines": anatomy.has_lines(),
        "custom_sections": anatomy.sections,
        "config_schema": asked.schema,
        "problem": asked.problem,
    }))
}

/// The component's answer to `describe`.
#[derive(Default)]
struct DescribeAnswer {
    description: Option<Description>,
    schema: Option<Value>,
    problem: Option<String>,
}

impl DescribeAnswer {
    fn or_problem(&mut self, problem: String) {
        self.problem = Some(problem);
    }
}

/// Gets the description of the component, as far as the component runs.
fn ask(path: &Path) -> Result<DescribeAnswer, CommandFailure> {
    let engine = Engine::new().map_err(|error| CommandFailure::new(error.to_string()))?;
    let loader = Loader::new(engine, Compiler::own(), None);
    let mut asked = DescribeAnswer::default();
    let described = runtime()?.block_on(async {
        let loaded = loader.load(path, &Provenance::default()).await.map_err(|error| error.to_string())?;
        describe_component(loader.engine(), &loaded).await.map_err(|error| error.to_string())
    });
    match described {
        Err(problem) => asked.or_problem(problem),
        Ok(description) => {
            match Schema::read(&description.config_schema) {
                Ok(schema) => asked.schema = Some(schema.json().clone()),
                Err(problem) => asked.or_problem(problem),
            }
            asked.description = Some(description);
        }
    }
    Ok(asked)
}

fn form(form: FileForm) -> &'static str {
    match form {
        FileForm::Component => "component",
        FileForm::Module => "core module",
        FileForm::Text => "text",
        FileForm::Empty => "empty",
        FileForm::Other => "not WebAssembly",
    }
}

/// The WIT package that the plugin is built for, with the version that it was built against.
fn package(anatomy: &Anatomy) -> Option<String> {
    let all = anatomy.exports.iter().chain(&anatomy.imports);
    let rest = all.filter_map(|name| name.strip_prefix(PACKAGE)?.strip_prefix('/')).next()?;
    Some(
        rest.split_once('@')
            .map_or_else(|| PACKAGE.to_owned(), |(_, version)| format!("{PACKAGE}@{version}")),
    )
}

/// For each import, the grant or setting that a policy needs.
fn needs(imports: &[String]) -> Map<String, Value> {
    let need = |import: &String| match grants::need(import) {
        Need::Nothing => "always granted".to_owned(),
        Need::Stub => "a stub of WASI".to_owned(),
        Need::Grant(line) => line.to_owned(),
        Need::NotHad(why) => why.to_string(),
    };
    imports.iter().map(|import| (import.clone(), need(import).into())).collect()
}

/// The line that grants all imports. None: nothing has to be granted.
fn grants_for(imports: &[String]) -> Option<String> {
    let granted = imports.iter().filter_map(|import| match grants::need(import) {
        Need::Grant(line) => grants::inside(line),
        Need::Nothing | Need::Stub | Need::NotHad(_) => None,
    });
    let granted: Vec<_> = granted.collect();
    (!granted.is_empty()).then(|| format!("grants = {{ {} }}", granted.join(", ")))
}

fn described(found: &Value) -> String {
    let text = |name: &str| found.get(name).and_then(Value::as_str);
    let mut lines = Vec::new();
    let mut line = |title: &str, text: Option<String>| {
        lines.extend(text.map(|text| format!("{:<10}{text}", format!("{title}:"))));
    };
    for name in ["name", "version", "summary", "source", "path"] {
        line(name, text(name).map(str::to_owned));
    }
    line("size", size_of(found));
    line("digest", text("digest").map(str::to_owned));
    line("world", world(found));
    line("memory", memory(found));
    line("made by", made_by(found));
    line("a trap", found.get("names").map(|_| of_a_trap(found).to_owned()));
    lines.extend(list("imports", found.get("needs"), |name, need| {
        format!("{name}  {}", need.as_str().unwrap_or_default())
    }));
    lines.extend(text("grants").map(|grants| format!("to grant, under [policies.NAME]:\n  {grants}")));
    let exports = found.get("exports").and_then(Value::as_array).map(|names| {
        names
            .iter()
            .filter_map(Value::as_str)
            .map(|name| (name.to_owned(), Value::Null))
            .collect::<Map<_, _>>()
    });
    lines.extend(list("exports", exports.map(Value::Object).as_ref(), |name, _| name.to_owned()));
    lines.extend(list("custom sections", found.get("custom_sections"), |name, bytes| {
        format!("{name}  {bytes} bytes")
    }));
    if let Some(schema) = found.get("config_schema").filter(|schema| !schema.is_null()) {
        lines.push(format!("settings (JSON Schema):\n{schema:#}"));
    }
    lines.join("\n")
}

fn list(title: &str, items: Option<&Value>, line: impl Fn(&str, &Value) -> String) -> Option<String> {
    let items = items.and_then(Value::as_object).filter(|items| !items.is_empty())?;
    let lines: Vec<_> = items.iter().map(|(name, value)| format!("  {}", line(name, value))).collect();
    Some(format!("{title}:\n{}", lines.join("\n")))
}

fn size_of(found: &Value) -> Option<String> {
    let bytes = found.get("size")?.as_u64()?;
    let form = found.get("form").and_then(Value::as_str).filter(|form| *form != "component");
    Some(match form {
        Some(form) => format!("{bytes} bytes ({form})"),
        None => format!("{bytes} bytes"),
    })
}

fn world(found: &Value) -> Option<String> {
    let text = |name: &str| found.get(name).and_then(Value::as_str);
    Some(match (text("world"), text("package")) {
        (Some(world), Some(package)) => format!("{world} of {package}"),
        (None, Some(package)) => format!("none of {PACKAGE}@{VERSION}, though it names {package}"),
        _ => return None,
    })
}

fn memory(found: &Value) -> Option<String> {
    let bytes = found.get("memory")?.as_u64().filter(|bytes| *bytes > 0)?;
    let limit = Limits::default().memory();
    let kib = bytes.div_ceil(1024);
    Some(match usize::try_from(bytes).is_ok_and(|bytes| bytes <= limit) {
        true => format!("{kib} KiB from the start; the limit is {} MiB unless it is set", limit >> 20),
        false => format!(
            "{kib} KiB from the start, which exceeds the limit of {} MiB: write `limits = {{ memory_mib = {} }}` or more",
            limit >> 20,
            bytes.div_ceil(1 << 20)
        ),
    })
}

fn made_by(found: &Value) -> Option<String> {
    let fields = found.get("producers")?.as_object()?;
    let makers = fields.iter().map(|(field, makers)| {
        let makers: Vec<_> = makers.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("{field} {}", makers.join(", "))
    });
    Some(makers.collect::<Vec<_>>().join("; ")).filter(|makers| !makers.is_empty())
}

/// A hint for the operator: how much the trace of a trap in this component can show.
fn of_a_trap(found: &Value) -> &'static str {
    let has = |name: &str| found.get(name).and_then(Value::as_bool).unwrap_or_default();
    match (has("names"), has("lines")) {
        (_, true) => {
            "shows functions, and lines by `plugin run` and `plugin test`: the component has debug information"
        }
        (true, false) => "shows functions: the component has their names, and no debug information",
        (false, false) => "does not show where it was: the component has neither names nor debug information",
    }
}
