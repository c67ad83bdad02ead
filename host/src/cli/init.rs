//! `witgate init`.

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::context::{Context, DEFAULT_CONFIG};
use super::key::now;
use super::outcome::{CommandFailure, Exit};
use super::plugin::export::{ExportedComponent, export};
use witgate_base::path::absolute;
use witgate_config::key_store::{IssuedKey, KeyStore, KeyStoreError, NewKey};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Overwrite an existing configuration; keep its key store and add a key to it
    #[arg(long)]
    force: bool,
    /// Name of the first key
    #[arg(long, value_name = "NAME", default_value = "claude-desktop")]
    name: String,
    /// Use the built-in policies instead of WebAssembly components
    #[arg(long)]
    builtin: bool,
}

/// The starter configuration: it works without a change, and lists the other options.
pub(super) const STARTER: &str = include_str!("init/witgate.toml");

const STORE: &str = "keys.toml";

/// The directory of the starter's components, in the directory of the configuration.
const PLUGINS: &str = "plugins";

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let path = absolute(&context.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG)));
    refuse_to_overwrite(&path, arguments)?;
    // The components and the key come first: a configuration without them would not start.
    let components = match arguments.builtin {
        true => Vec::new(),
        false => starters(&path, arguments.force)?,
    };
    let store = KeyStore::at(path.with_file_name(STORE));
    let made = make_key(&store, &arguments.name)?;
    write(&path, &starter(arguments.builtin), arguments.force)?;
    show(context, &path, &store, &made, &components);
    Ok(Exit::Done)
}

/// Writes the components that the starter configuration names.
fn starters(path: &Path, force: bool) -> Result<Vec<ExportedComponent>, CommandFailure> {
    let wanted = |kind: &str| STARTER.contains(&format!("\"{PLUGINS}/{kind}.wasm\""));
    let exported = export(&path.with_file_name(PLUGINS), wanted, force);
    exported.map_err(|failure| {
        CommandFailure::new(format!("{failure}\n`witgate init --builtin` needs no components."))
    })
}

/// The starter configuration; with `builtin`, its lines about components are comments.
fn starter(builtin: bool) -> Cow<'static, str> {
    if !builtin {
        return STARTER.into();
    }
    STARTER.replace("\ncomponent = ", "\n# component = ").replace("\nfallback = ", "\n# fallback = ").into()
}

fn refuse_to_overwrite(path: &Path, arguments: &Arguments) -> Result<(), CommandFailure> {
    if path.exists() && !arguments.force {
        return Err(CommandFailure::new(format!(
            "{} exists already; `--force` overwrites it, `--config FILE` writes another one",
            path.display()
        )));
    }
    Ok(())
}

/// Makes a key with this name, or, if an earlier `init` has made one, with the name and a number.
fn make_key(store: &KeyStore, name: &str) -> Result<IssuedKey, CommandFailure> {
    let numbered = (2..100).map(|number| format!("{name}-{number}"));
    for name in std::iter::once(name.to_owned()).chain(numbered) {
        match store.create(first_key(&name), now()) {
            Err(KeyStoreError::Taken(_) | KeyStoreError::TakenByRevoked(_)) => {}
            made => return Ok(made?),
        }
    }
    Err(CommandFailure::new(format!(
        "{} has many keys `{name}` already; give this one another `--name`",
        store.path().display()
    )))
}

/// The first key. Its role lets it through the starter's rules, and its patterns allow every call.
fn first_key(name: &str) -> NewKey {
    NewKey {
        name: name.to_owned(),
        roles: vec!["user".to_owned()],
        allow: vec!["*".to_owned()],
        ..NewKey::default()
    }
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), CommandFailure> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(!force).create(true).truncate(true);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| CommandFailure::new(format!("{} cannot be written: {error}", path.display())))
}

fn show(
    context: &Context,
    path: &Path,
    store: &KeyStore,
    made: &IssuedKey,
    components: &[ExportedComponent],
) {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("witgate"));
    let snippet = json!({ "mcpServers": { "witgate": {
        "command": program,
        "args": ["serve", "--transport", "stdio", "--config", path],
        "env": { "MCP_API_KEY": made.text.reveal() },
    } } });
    let terminal = &context.terminal;
    if terminal.is_json() {
        return terminal.print_json(&json!({
            "config": path,
            "store": store.path(),
            "components": components.iter().map(ExportedComponent::json).collect::<Vec<_>>(),
            "name": made.key.name,
            "key": made.text.reveal(),
            "claude_desktop": snippet,
        }));
    }
    terminal.say(&format!("Wrote {} and {}.", path.display(), store.path().display()));
    if !components.is_empty() {
        terminal.say(&format!(
            "The policies are WebAssembly components in {}, which can be swapped while Witgate runs. If one fails, its built-in decides. `witgate init --builtin` uses the built-in checks only.",
            path.with_file_name(PLUGINS).display()
        ));
    }
    terminal.say(&format!(
        "\nThe key of `{}`, shown only this once ({} characters, 256 random bits):\n",
        made.key.name,
        made.text.reveal().len()
    ));
    terminal.print(made.text.reveal());
    terminal.say("\nFor Claude Desktop (claude_desktop_config.json):\n");
    terminal.print(&claude_desktop(&program, path, made));
    if !on_path("npx", context.environment.get("PATH")) {
        terminal.say("\nThe example server needs Node.js, and there is no `npx` on PATH: install it, or name your own server.");
    }
    terminal.say(&format!(
        "\nNext: `witgate check`, then `witgate serve`; over HTTP, clients call http://127.0.0.1:8787/mcp with the header \
         X-API-Key.\nThe permissions are in {}.",
        path.display()
    ));
}

/// Written by hand, in the order in which people write it.
fn claude_desktop(program: &Path, path: &Path, made: &IssuedKey) -> String {
    format!(
        r#"{{
  "mcpServers": {{
    "witgate": {{
      "command": {},
      "args": ["serve", "--transport", "stdio", "--config", {}],
      "env": {{ "MCP_API_KEY": {} }}
    }}
  }}
}}"#,
        json!(program),
        json!(path),
        json!(made.text.reveal()),
    )
}

fn on_path(program: &str, search: Option<&str>) -> bool {
    search.is_some_and(|search| std::env::split_paths(search).any(|folder| folder.join(program).is_file()))
}
