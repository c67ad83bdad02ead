//! `witgate user import`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use zeroize::Zeroizing;

use super::entry::{has, to_json, wait};
use super::users_place::{UsersPlace, place};
use crate::cli::change_state::WaitOption;
use crate::cli::context::Context;
use crate::cli::key::now;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_config::key_store::{ExistingKeys, ImportChange};
use witgate_config::user_store::{UserImport, UserImportTerms, UserStore};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// File to import; `-`: standard input
    file: PathBuf,
    /// Role of users for whom the file names none; may be repeated
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// Pattern of allowed calls for new users; may be repeated
    #[arg(long, value_name = "PATTERN")]
    allow: Vec<String>,
    /// Replace hash and roles of users that the store has with others
    #[arg(long, conflicts_with = "skip")]
    update: bool,
    /// Leave users as they are that the store has with others
    #[arg(long)]
    skip: bool,
    /// Print what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    place: UsersPlace,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let store = place(context, &arguments.place)?;
    let import = read(&arguments.file)?;
    let existing = match (arguments.update, arguments.skip) {
        (true, _) => ExistingKeys::Update,
        (_, true) => ExistingKeys::Skip,
        _ => ExistingKeys::Refuse,
    };
    let (roles, allow, dry_run) = (arguments.role.clone(), arguments.allow.clone(), arguments.dry_run);
    let changes = store.import(&import, &UserImportTerms { roles, allow, existing, dry_run }, now())?;
    if context.terminal.is_json() {
        let json = |(change, user): &(ImportChange, _)| {
            let mut json = to_json(user);
            if let Some(members) = json.as_object_mut() {
                members.insert("change".to_owned(), json!(change.name()));
            }
            json
        };
        context.terminal.print_json(&changes.iter().map(json).collect());
    }
    let named = |wanted: ImportChange| {
        let names = changes.iter().filter(|(change, _)| *change == wanted);
        names.map(|(_, user)| user.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    say(context, &store, arguments, named);
    let is_new = |change: ImportChange| matches!(change, ImportChange::Added | ImportChange::Updated);
    if arguments.dry_run || !changes.iter().any(|(change, _)| is_new(*change)) {
        return Ok(Exit::Done);
    }
    let outcome = wait(context, &store, arguments.wait, |users| {
        changes.iter().filter(|(change, _)| is_new(*change)).all(|(_, user)| has(users, user))
    });
    outcome.say(&context.terminal);
    Ok(outcome.exit())
}

fn say(context: &Context, store: &UserStore, arguments: &Arguments, named: impl Fn(ImportChange) -> String) {
    let terminal = &context.terminal;
    let shown = store.path().display();
    let [added, updated, unchanged, skipped] =
        [ImportChange::Added, ImportChange::Updated, ImportChange::Unchanged, ImportChange::Skipped]
            .map(named);
    if added.is_empty() && updated.is_empty() {
        terminal.say(&format!("Nothing new for {shown}."));
    }
    let (imported, replaced) = match arguments.dry_run {
        true => (format!("Would import into {shown}"), "Would replace"),
        false => (format!("Imported into {shown}"), "Replaced"),
    };
    for (names, what) in [
        (added, imported.as_str()),
        (updated, replaced),
        (unchanged, "The same as in the store"),
        (skipped, "Left as in the store, which has another hash or other roles"),
    ] {
        if !names.is_empty() {
            terminal.say(&format!("{what}: {names}."));
        }
    }
}

fn read(file: &Path) -> Result<UserImport, CommandFailure> {
    let is_input = file == Path::new("-");
    let shown = if is_input { "standard input".to_owned() } else { file.display().to_string() };
    let mut text = Zeroizing::new(String::new());
    let read = match is_input {
        true => std::io::stdin().read_to_string(&mut text),
        false => std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text)),
    };
    read.map_err(|error| {
        CommandFailure::new(format!("{shown} cannot be read: {error}; nothing was imported"))
    })?;
    let import = UserImport::parse(&text);
    import.map_err(|error| CommandFailure::new(format!("{shown}: {error}\nNothing was imported.")))
}
