//! `witgate secret import`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::json;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::place::{OlderStore, changeable};
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_base::cause::is_file;
use witgate_config::env_file::EnvFile;
use witgate_config::secret_store::{SecretStoreError, fernet};
use witgate_config::secret_text::in_file;
use witgate_message::strict_json::{self, StrictMembers};

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
    form: Option<SecretFileForm>,
    /// The file is a JSON object whose values `encrypted_NAME` are tokens of Fernet; KEY is the file with their key
    #[arg(long, value_name = "KEY")]
    fernet: Option<PathBuf>,
    /// Replace secrets that the store has with another value
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    older: OlderStore,
}

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum SecretFileForm {
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
    let store = changeable(context, arguments.older)?;
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
    let form = form.unwrap_or(if is_json { SecretFileForm::Json } else { SecretFileForm::Env });
    match (fernet, form) {
        (Some(key), _) => of_fernet(file, key),
        (None, SecretFileForm::Json) => of_json(file),
        (None, SecretFileForm::Env) => {
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

/// The members of the JSON object in the text of `file`. No error quotes the text.
fn object<'t>(text: &'t str, file: &Path) -> Result<StrictMembers<'t>, CommandFailure> {
    StrictMembers::read(text).map_err(|error| {
        CommandFailure::new(format!(
            "{} cannot be imported: {}, at line {} and column {}",
            file.display(),
            strict_json::category(&error),
            error.line(),
            error.column()
        ))
    })
}

/// A text, in memory that is wiped.
fn string(value: &RawValue) -> Option<Zeroizing<String>> {
    strict_json::string(value).map(|text| Zeroizing::new(text.into_owned()))
}

fn text(file: &Path) -> Result<Zeroizing<String>, CommandFailure> {
    let failed = |why: String| CommandFailure::new(format!("{} cannot be read: {why}", file.display()));
    let io_failed = |error: io::Error| failed(error.to_string());
    // A pipe would keep the reader waiting.
    if !is_file(file).map_err(io_failed)? {
        return Err(failed("it is not a file".to_owned()));
    }
    let file = File::open(file).map_err(io_failed)?;
    let size = file.metadata().map_err(io_failed)?.len().min(LARGEST);
    // With its final size, because growing would leave copies in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(io_failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(failed(format!("it has more than {LARGEST} bytes")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| failed("it is not UTF-8".to_owned()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn of_json(file: &Path) -> Result<ForeignSecrets, CommandFailure> {
    let mut foreign = ForeignSecrets::default();
    let text = text(file)?;
    for (name, value) in object(&text, file)?.iter() {
        let value = string(value).ok_or_else(|| {
            CommandFailure::new(format!("{}: the value of `{name}` is not a text", file.display()))
        })?;
        foreign.secrets.insert(name.to_owned(), value);
    }
    Ok(foreign)
}

fn of_fernet(file: &Path, key: &Path) -> Result<ForeignSecrets, CommandFailure> {
    let key = text(key)?;
    let mut foreign = ForeignSecrets::default();
    let text = text(file)?;
    for (name, value) in object(&text, file)?.iter() {
        let Some(secret) = name.strip_prefix(ENCRYPTED) else {
            foreign.plain.push(name.to_owned());
            continue;
        };
        let token = string(value).unwrap_or_default();
        let value = fernet::decrypt_nested(in_file(&key), &token).map_err(|error| {
            CommandFailure::new(format!("{}: `{name}`: {error}; nothing was imported", file.display()))
        })?;
        foreign.secrets.insert(secret.to_owned(), value);
    }
    Ok(foreign)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_json_object_has_texts_and_each_name_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            of_json(&path).map(|foreign| foreign.secrets).map_err(|failure| failure.to_string())
        };
        assert_eq!(read(r#"{ "A": "o\u0070en" }"#).unwrap()["A"].as_str(), "open");
        for (text, why) in [
            (r#"{ "A": "sesame", "A": "sesame" }"#, "it is not one JSON object with every key once"),
            (r#"["sesame"]"#, "it is not one JSON object with every key once"),
            (r#"{ "A": "sesame" "#, "it ends too early"),
            (r#"{ "A": "sesame\ud800" }"#, "is not a text"),
            (r#"{ "A": "sesame", "B": 1 }"#, "the value of `B` is not a text"),
        ] {
            let error = read(text).err().unwrap_or_default();
            assert!(error.contains(why) && !error.contains("sesame"), "{text}: {error}");
        }
    }

    #[test]
    fn a_pipe_a_device_and_a_large_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [&*pipe, Path::new("/dev/zero"), folder.path()] {
            assert!(text(path).unwrap_err().to_string().ends_with("it is not a file"), "{}", path.display());
        }
        let large = folder.path().join("large");
        std::fs::write(&large, vec![b'x'; usize::try_from(LARGEST).unwrap() + 1]).unwrap();
        assert!(text(&large).unwrap_err().to_string().contains("has more than"));
    }
}
