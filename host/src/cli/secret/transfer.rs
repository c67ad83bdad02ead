//! `witgate secret import`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::place::place;
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_config::env_file::EnvFile;
use witgate_config::secret_store::{SecretStoreError, fernet};
use witgate_config::secret_text::in_file;

/// The beginning of the names of encrypted values.
const ENCRYPTED: &str = "encrypted_";

/// Size limit of a file, in bytes.
const LARGEST: u64 = 4 << 20;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ImportArguments {
    /// File to import
    file: PathBuf,
    /// Form of the file: variables such as those of `.env`, or a JSON object with names and texts [default: `json` if its name ends with `.json`, else `env`]
    #[arg(long, value_enum, conflicts_with = "fernet")]
    form: Option<ImportForm>,
    /// The file is a JSON object whose values `encrypted_NAME` are tokens of Fernet; KEY is the file with their key
    #[arg(long, value_name = "KEY")]
    fernet: Option<PathBuf>,
    /// Replace secrets that the store has with another value
    #[arg(long)]
    update: bool,
}

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ImportForm {
    Env,
    Json,
}

/// The secrets of a file, and the names that are no secrets.
#[derive(Default)]
struct ForeignSecrets {
    secrets: BTreeMap<String, Zeroizing<String>>,
    plain: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: &ImportArguments) -> Result<Exit, CommandFailure> {
    let foreign = read(arguments)?;
    let store = place(context)?;
    let (names, unchanged) = store.change(|secrets| {
        let (mut names, mut unchanged, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for (name, value) in &foreign.secrets {
            match secrets.get(name) {
                Some(known) if known == value.as_str() => unchanged.push(name.clone()),
                Some(_) if !arguments.update => others.push(name.clone()),
                _ => {
                    secrets.set(name, value.clone())?;
                    names.push(name.clone());
                }
            }
        }
        match others.is_empty() {
            true => Ok((names, unchanged)),
            false => Err(SecretStoreError::Refused(format!(
                "the store has other values of {}; nothing was imported. `--update` replaces them",
                others.join(", ")
            ))),
        }
    })?;
    if context.terminal.is_json() {
        let (plain, imported) = (&foreign.plain, &names);
        context.terminal.print_json(&json!({ "imported": imported, "unchanged": unchanged, "plain": plain }));
    }
    let shown = store.path().display();
    match names.is_empty() {
        true => context.terminal.say(&format!("Nothing new for {shown}.")),
        false => context.terminal.say(&format!("Imported into {shown}: {}.", names.join(", "))),
    }
    if !foreign.plain.is_empty() {
        context.terminal.say(&format!("Not encrypted there, and left: {}.", foreign.plain.join(", ")));
    }
    let file = arguments.file.display();
    context.terminal.say(&format!("{file} still has them: delete it once they work."));
    Ok(Exit::Done)
}

fn read(arguments: &ImportArguments) -> Result<ForeignSecrets, CommandFailure> {
    let ImportArguments { file, form, fernet, .. } = arguments;
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    let form = form.unwrap_or(if is_json { ImportForm::Json } else { ImportForm::Env });
    match (fernet, form) {
        (Some(key), _) => of_fernet(file, key),
        (None, ImportForm::Json) => of_json(file),
        (None, ImportForm::Env) => {
            let read =
                EnvFile::read(file).map_err(|fault| CommandFailure::Data(unusable(file), vec![fault]))?;
            let filled = read.variables.into_iter().filter(|(_, value)| !value.is_empty());
            Ok(ForeignSecrets { secrets: filled.collect(), plain: Vec::new() })
        }
    }
}

fn unusable(file: &Path) -> String {
    format!("{} cannot be imported", file.display())
}

/// The members of a JSON object. No error quotes the file.
fn object(file: &Path) -> Result<Map<String, Value>, CommandFailure> {
    let text = text(file)?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(CommandFailure::new(format!("{} is not a JSON object", file.display()))),
        Err(error) => Err(CommandFailure::new(format!(
            "{} is not JSON, at line {} and column {}",
            file.display(),
            error.line(),
            error.column()
        ))),
    }
}

fn text(file: &Path) -> Result<Zeroizing<String>, CommandFailure> {
    let failed = |why: String| CommandFailure::new(format!("{} cannot be read: {why}", file.display()));
    let size = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
    if size > LARGEST {
        return Err(failed(format!("it has more than {LARGEST} bytes")));
    }
    std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| failed(error.to_string()))
}

fn of_json(file: &Path) -> Result<ForeignSecrets, CommandFailure> {
    let mut foreign = ForeignSecrets::default();
    for (name, value) in object(file)? {
        match value {
            Value::String(value) => drop(foreign.secrets.insert(name, Zeroizing::new(value))),
            _ => {
                let message = format!("{}: the value of `{name}` is not a text", file.display());
                return Err(CommandFailure::new(message));
            }
        }
    }
    Ok(foreign)
}

fn of_fernet(file: &Path, key: &Path) -> Result<ForeignSecrets, CommandFailure> {
    let key = text(key)?;
    let mut foreign = ForeignSecrets::default();
    for (name, value) in object(file)? {
        let Some(secret) = name.strip_prefix(ENCRYPTED) else {
            foreign.plain.push(name);
            continue;
        };
        let token = value.as_str().unwrap_or_default();
        let value = fernet::decrypt_nested(in_file(&key), token).map_err(|error| {
            CommandFailure::new(format!("{}: `{name}`: {error}; nothing was imported", file.display()))
        })?;
        foreign.secrets.insert(secret.to_owned(), value);
    }
    Ok(foreign)
}
