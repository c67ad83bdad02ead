//! `witgate init`.

mod accounts;
pub(super) mod client;
mod gitignore;
mod own_server;
mod replacement;
mod starter;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use self::accounts::AccountsSummary;
use self::client::{ClientEntry, ClientProgram};
use self::own_server::{OwnServer, ServerOptions};
use self::starter::Starter;
use super::context::{Context, DEFAULT_CONFIG};
use super::key::import::ImportForm;
use super::key::now;
use super::outcome::{CommandFailure, Exit};
use super::plugin::export::{ExportedComponent, export};
use witgate_base::path::absolute;
use witgate_config::key_store::{ExistingKeys, ImportTerms, IssuedKey, KeyStore, KeyStoreError, NewKey};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Overwrite an existing configuration; keep its key store and add a key to it
    #[arg(long)]
    force: bool,
    /// Name of the first key [default: that of the client, such as `claude-desktop`]
    #[arg(long, value_name = "NAME", conflicts_with = "import")]
    name: Option<String>,
    /// Use the built-in policies instead of WebAssembly components
    #[arg(long)]
    builtin: bool,
    /// Let people log in at Witgate, with user names and passwords, instead of creating a key
    #[arg(long, conflicts_with_all = ["name", "import", "client"])]
    accounts: bool,
    #[command(flatten)]
    server: ServerOptions,
    /// ClientProgram whose settings to print
    #[arg(long, value_enum, default_value = "claude")]
    client: ClientProgram,
    /// Import the keys of another server instead of creating one, as `witgate key import` does; `-`: standard input
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
    #[command(flatten)]
    form: ImportForm,
}

const STORE: &str = "keys.toml";

/// The directory of the starter's components, in the directory of the configuration.
const PLUGINS: &str = "plugins";

/// The keys of a new configuration.
enum FirstKeys {
    /// A new key.
    Issued(Box<IssuedKey>),
    /// The names of imported keys.
    Imported(Vec<String>),
}

impl FirstKeys {
    /// The text of the new key.
    fn text(&self) -> Option<&str> {
        match self {
            Self::Issued(made) => Some(made.text.reveal()),
            Self::Imported(_) => None,
        }
    }
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let path = absolute(&context.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG)));
    refuse_to_overwrite(&path, arguments)?;
    let server = arguments.server.resolve()?;
    if arguments.accounts {
        return with_accounts(context, arguments, &path, server.as_ref());
    }
    let starter = Starter {
        builtin: arguments.builtin,
        server: server.as_ref(),
        // Imported keys have patterns, and no roles.
        by_roles: arguments.import.is_none(),
    };
    // The components and the key come first: a configuration without them would not start.
    let components = match arguments.builtin {
        true => Vec::new(),
        false => starters(&path, &starter.text(), arguments.force)?,
    };
    let store = KeyStore::at(path.with_file_name(STORE));
    let keys = first_keys(context, &store, arguments)?;
    write(&path, &starter.text(), arguments.force)?;
    let ignored =
        gitignore::extend(&path.with_file_name(".gitignore"), arguments.client, arguments.form.weak);
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("witgate"));
    let entry = ClientEntry {
        name: arguments.server.name().unwrap_or("witgate"),
        program: &program,
        config: &path,
        key: keys.text(),
    };
    let weak = arguments.form.weak;
    let summary = Summary { path: &path, store: &store, keys: &keys, components, ignored, weak, entry };
    match context.terminal.is_json() {
        true => summary.print_json(context, arguments.client),
        false => summary.print(context, arguments.client, server.as_ref()),
    }
    Ok(Exit::Done)
}

/// Writes a configuration with accounts. It has no users yet.
fn with_accounts(
    context: &Context,
    arguments: &Arguments,
    path: &Path,
    server: Option<&OwnServer>,
) -> Result<Exit, CommandFailure> {
    let text = accounts::text(server, arguments.builtin);
    let components = match arguments.builtin {
        true => Vec::new(),
        false => starters(path, &text, arguments.force)?,
    };
    write(path, &text, arguments.force)?;
    let ignored = gitignore::extend_for_accounts(&path.with_file_name(".gitignore"));
    AccountsSummary { path, server, components, ignored }.print(&context.terminal);
    Ok(Exit::Done)
}

/// Writes the components that the starter configuration names.
fn starters(path: &Path, starter: &str, force: bool) -> Result<Vec<ExportedComponent>, CommandFailure> {
    let wanted = |kind: &str| starter.contains(&format!("\"{PLUGINS}/{kind}.wasm\""));
    let exported = export(&path.with_file_name(PLUGINS), wanted, force);
    exported.map_err(|failure| {
        CommandFailure::new(format!("{failure}\n`witgate init --builtin` needs no components."))
    })
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

/// Imports the keys of the file that the arguments name, or makes one.
fn first_keys(
    context: &Context,
    store: &KeyStore,
    arguments: &Arguments,
) -> Result<FirstKeys, CommandFailure> {
    let Some(file) = &arguments.import else {
        let name = arguments.name.as_deref().unwrap_or(arguments.client.key_name());
        return make_key(store, name).map(Box::new).map(FirstKeys::Issued);
    };
    let foreign = arguments.form.read(file)?;
    let terms = ImportTerms { weak: arguments.form.weak, existing: ExistingKeys::Refuse, dry_run: false };
    let changes = store.import(&foreign, terms, now())?;
    if changes.is_empty() {
        context.terminal.say(&format!("{} has no keys; `witgate key create` makes one.", file.display()));
    }
    Ok(FirstKeys::Imported(changes.into_iter().map(|(_, key)| key.name).collect()))
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
    let written = match force {
        true => replacement::replace(path, text),
        false => File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes())),
    };
    written.map_err(|error| CommandFailure::new(format!("{} cannot be written: {error}", path.display())))
}

/// The work of the command.
struct Summary<'a> {
    path: &'a Path,
    store: &'a KeyStore,
    keys: &'a FirstKeys,
    components: Vec<ExportedComponent>,
    /// The lines that were added to `.gitignore`, or the reason why none could be.
    ignored: Result<Vec<&'static str>, String>,
    /// True if the key store may have weak keys.
    weak: bool,
    entry: ClientEntry<'a>,
}

impl Summary<'_> {
    fn print_json(&self, context: &Context, client: ClientProgram) {
        let mut summary = json!({
            "config": self.path,
            "store": self.store.path(),
            "components": self.components.iter().map(ExportedComponent::json).collect::<Vec<_>>(),
            "client": client.key_name(),
            "client_file": client.file(),
            "client_settings": client.settings_json(&self.entry),
            "ignored": self.ignored.as_ref().ok(),
        });
        let keys = match self.keys {
            FirstKeys::Issued(made) => json!({ "name": made.key.name, "key": made.text.reveal() }),
            FirstKeys::Imported(names) => json!({ "imported": names }),
        };
        if let (Some(summary), Some(keys)) = (summary.as_object_mut(), keys.as_object()) {
            summary.extend(keys.clone());
        }
        context.terminal.print_json(&summary);
    }

    fn print(&self, context: &Context, client: ClientProgram, server: Option<&OwnServer>) {
        let terminal = &context.terminal;
        terminal.say(&format!("Wrote {} and {}.", self.path.display(), self.store.path().display()));
        for note in server.map(OwnServer::notes).unwrap_or_default() {
            terminal.say(&note);
        }
        if !self.components.is_empty() {
            terminal.say(&format!(
                "The policies are WebAssembly components in {}, which can be swapped while Witgate runs. If one fails, its built-in decides. `witgate init --builtin` uses the built-in checks only.",
                self.path.with_file_name(PLUGINS).display()
            ));
        }
        match &self.ignored {
            Ok(lines) if lines.is_empty() => {}
            Ok(lines) => terminal.say(&format!("Added to .gitignore: {}.", lines.join(", "))),
            Err(error) => terminal.say(&format!(
                "{error}. Keep these files out of version control: {}.",
                gitignore::lines(client, self.weak).join(", ")
            )),
        }
        self.print_keys(context);
        terminal.say(&format!("\nFor {} ({}):\n", client.title(), client.file()));
        terminal.print(&client.settings(&self.entry));
        if let Some(note) = client.note() {
            terminal.say(&format!("\n{note}"));
        }
        if server.is_none() && !on_path("npx", context.environment.get("PATH")) {
            terminal.say("\nThe example server needs Node.js, and there is no `npx` on PATH: install it, or name your own server.");
        }
        terminal.say(&format!(
            "\nNext: `witgate check`, then `witgate serve`; over HTTP, clients call http://127.0.0.1:8787/mcp with the header \
             X-API-Key.\nThe permissions are in {}.",
            self.path.display()
        ));
    }

    fn print_keys(&self, context: &Context) {
        let terminal = &context.terminal;
        match self.keys {
            FirstKeys::Issued(made) => {
                let text = made.text.reveal();
                terminal.say(&format!(
                    "\nThe key of `{}`, shown only this once ({} characters, 256 random bits):\n",
                    made.key.name,
                    text.len()
                ));
                terminal.print(text);
            }
            FirstKeys::Imported(names) => {
                terminal.say(&format!("\nImported, hashed: {}.", names.join(", ")));
            }
        }
    }
}

fn on_path(program: &str, search: Option<&str>) -> bool {
    search.is_some_and(|search| std::env::split_paths(search).any(|folder| folder.join(program).is_file()))
}

#[cfg(test)]
mod tests;
