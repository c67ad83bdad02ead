//! The common parts of the imports of keys and of users: the text to import, and the result for each entry.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::outcome::CommandFailure;
use super::terminal::Terminal;
use witgate_config::key_store::{ExistingKeys, ImportChange};

/// A text to import.
pub(super) struct ImportText {
    /// The place of the text, for messages.
    pub(super) shown: String,
    pub(super) text: Zeroizing<String>,
}

impl ImportText {
    /// Reads a file; `-`: standard input.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn read(file: &Path) -> Result<Self, CommandFailure> {
        let is_input = file == Path::new("-");
        let shown = if is_input { "standard input".to_owned() } else { file.display().to_string() };
        let mut text = Zeroizing::new(String::new());
        let read = match is_input {
            true => std::io::stdin().read_to_string(&mut text),
            false => std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text)),
        };
        match read {
            Ok(_) => Ok(Self { shown, text }),
            Err(error) => {
                Err(CommandFailure::new(format!("{shown} cannot be read: {error}; nothing was imported")))
            }
        }
    }
}

/// The treatment of entries that the store has with another content, by the options `--update` and `--skip`.
pub(super) fn existing(update: bool, skip: bool) -> ExistingKeys {
    match (update, skip) {
        (true, _) => ExistingKeys::Update,
        (_, true) => ExistingKeys::Skip,
        _ => ExistingKeys::Refuse,
    }
}

/// The entries of an import, each with its change.
pub(super) struct ImportReport<E> {
    changes: Vec<(ImportChange, E)>,
    name: fn(&E) -> &str,
}

impl<E> ImportReport<E> {
    /// The report of these changes, with the names of the entries.
    pub(super) fn new(changes: Vec<(ImportChange, E)>, name: fn(&E) -> &str) -> Self {
        Self { changes, name }
    }

    /// Prints the entries as JSON, if that is wanted.
    pub(super) fn print_json(&self, terminal: &Terminal, to_json: fn(&E) -> Value) {
        let with_change = |(change, entry): &(ImportChange, E)| {
            let mut json = to_json(entry);
            if let Some(members) = json.as_object_mut() {
                members.insert("change".to_owned(), json!(change.name()));
            }
            json
        };
        if terminal.is_json() {
            terminal.print_json(&self.changes.iter().map(with_change).collect());
        }
    }

    /// The names of the entries with a change, separated by commas.
    pub(super) fn names(&self, wanted: ImportChange) -> String {
        let entries = self.changes.iter().filter(|(change, _)| *change == wanted);
        entries.map(|(_, entry)| (self.name)(entry)).collect::<Vec<_>>().join(", ")
    }

    /// The entries that the store did not have in this form.
    pub(super) fn news(&self) -> impl Iterator<Item = &E> {
        let is_new = |change: ImportChange| matches!(change, ImportChange::Added | ImportChange::Updated);
        self.changes.iter().filter(move |(change, _)| is_new(*change)).map(|(_, entry)| entry)
    }
}
