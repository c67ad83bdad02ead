//! `witgate user import`.

use std::path::{Path, PathBuf};

use witgate_basic::users::StoredUser;

use super::entry::{has, to_json, wait};
use super::users_place::{UsersPlace, place};
use crate::cli::change_state::WaitOption;
use crate::cli::context::Context;
use crate::cli::import::{ImportReport, ImportText, existing};
use crate::cli::key::now;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_config::key_store::ImportChange;
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
    let existing = existing(arguments.update, arguments.skip);
    let (roles, allow, dry_run) = (arguments.role.clone(), arguments.allow.clone(), arguments.dry_run);
    let changes = store.import(&import, &UserImportTerms { roles, allow, existing, dry_run }, now())?;
    let report = ImportReport::new(changes, |user| &user.name);
    report.print_json(&context.terminal, to_json);
    say(context, &store, arguments, &report);
    if arguments.dry_run || report.news().next().is_none() {
        return Ok(Exit::Done);
    }
    let outcome = wait(context, &store, arguments.wait, |users| report.news().all(|user| has(users, user)));
    outcome.say(&context.terminal);
    Ok(outcome.exit())
}

fn say(context: &Context, store: &UserStore, arguments: &Arguments, report: &ImportReport<StoredUser>) {
    let terminal = &context.terminal;
    let shown = store.path().display();
    let [added, updated, unchanged, skipped] =
        [ImportChange::Added, ImportChange::Updated, ImportChange::Unchanged, ImportChange::Skipped]
            .map(|change| report.names(change));
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
    let ImportText { shown, text } = ImportText::read(file)?;
    let import = UserImport::parse(&text);
    import.map_err(|error| CommandFailure::new(format!("{shown}: {error}\nNothing was imported.")))
}
