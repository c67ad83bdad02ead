//! `witgate key import`.

use std::path::{Path, PathBuf};

use witgate_api_key::store::StoredKey;

use super::entry::{has_text, now, to_json, wait_and_say};
use super::store_place::{StorePlace, place};
use crate::cli::change_state::WaitOption;
use crate::cli::context::Context;
use crate::cli::import::{ImportReport, ImportText, existing};
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_config::environment::Environment;
use witgate_config::key_store::{ForeignKeys, ImportChange, ImportTerms, KeyStore};
use witgate_config::resolve::Outline;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// JSON file to import; `-`: standard input
    #[arg(required_unless_present = "env")]
    file: Option<PathBuf>,
    /// Import the value of a variable as the key NAME; may be repeated
    #[arg(long, value_name = "VAR=NAME", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Pattern of allowed calls, for keys without permissions in the file; may be repeated
    #[arg(long, value_name = "PATTERN")]
    allow: Vec<String>,
    /// Replace text and patterns of keys that the store has with another text
    #[arg(long, conflicts_with = "skip")]
    update: bool,
    /// Leave keys as they are that the store has with another text
    #[arg(long)]
    skip: bool,
    /// Print what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    form: ImportForm,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    place: StorePlace,
}

/// The accepted form of a file of keys.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ImportForm {
    /// Accept keys of fewer than 32 characters, too
    #[arg(long)]
    pub(in crate::cli) weak: bool,
    /// Ignore unknown members, and permissions for missing keys
    #[arg(long)]
    lenient: bool,
    /// Default patterns for keys without permissions in the file, by their names
    #[arg(long, value_enum)]
    preset: Option<Preset>,
}

/// The default patterns of a server.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Preset {
    /// `default`: `*`; `readonly`: `get_*`, `list_*`; `limited`: `hello_world`, `echo`
    #[value(name = "chapter-6")]
    Chapter6,
}

impl Preset {
    /// The patterns by the names of keys.
    fn patterns(self) -> &'static [(&'static str, &'static [&'static str])] {
        match self {
            Self::Chapter6 => &[
                ("default", &["*"]),
                ("readonly", &["get_*", "list_*"]),
                ("limited", &["hello_world", "echo"]),
            ],
        }
    }
}

impl ImportForm {
    /// The keys in a file of this form.
    ///
    /// # Errors
    /// If the file cannot be read, or has another form.
    pub(in crate::cli) fn read(&self, file: &Path) -> Result<ForeignKeys, CommandFailure> {
        let mut foreign = read(file, self.lenient)?;
        self.apply_preset(&mut foreign);
        Ok(foreign)
    }

    fn apply_preset(&self, foreign: &mut ForeignKeys) {
        for (name, patterns) in self.preset.map(Preset::patterns).unwrap_or_default() {
            foreign.allow_one(name, patterns);
        }
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((variable, name)) if !variable.is_empty() && !name.is_empty() => {
            Ok((variable.to_owned(), name.to_owned()))
        }
        _ => Err("write the name of a variable, `=`, and the name of the key".to_owned()),
    }
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let store = place(context, &arguments.place)?;
    let foreign = foreign(context, arguments)?;
    let existing = existing(arguments.update, arguments.skip);
    let terms = ImportTerms { weak: arguments.form.weak, existing, dry_run: arguments.dry_run };
    let report = ImportReport::new(store.import(&foreign, terms, now())?, |key| &key.name);
    report.print_json(&context.terminal, to_json);
    say(context, &store, arguments, &report);
    if arguments.dry_run || report.news().next().is_none() {
        return Ok(Exit::Done);
    }
    Ok(wait_and_say(context, &store, arguments.wait, |now| report.news().all(|key| has_text(now, key))))
}

fn say(context: &Context, store: &KeyStore, arguments: &Arguments, report: &ImportReport<StoredKey>) {
    let terminal = &context.terminal;
    let shown = store.path().display();
    let begin = if arguments.dry_run { "Would import" } else { "Imported" };
    let [added, updated, unchanged, skipped] =
        [ImportChange::Added, ImportChange::Updated, ImportChange::Unchanged, ImportChange::Skipped]
            .map(|change| report.names(change));
    match (added.is_empty(), updated.is_empty()) {
        (true, true) => terminal.say(&format!("Nothing new for {shown}.")),
        (false, _) => terminal.say(&format!("{begin} into {shown}, hashed: {added}.")),
        (true, false) => {}
    }
    let replaced = if arguments.dry_run { "Would replace" } else { "Replaced" };
    for (names, what) in [
        (updated, replaced),
        (unchanged, "The same as in the store"),
        (skipped, "Left as in the store, which has another text or other patterns"),
    ] {
        if !names.is_empty() {
            terminal.say(&format!("{what}: {names}."));
        }
    }
    let unread = store.configured().iter().filter(|key| key.sha256.is_none());
    let unread: Vec<_> = unread.map(|key| key.name.as_str()).collect();
    if !unread.is_empty() {
        terminal.say(&format!(
            "Not compared with these `keys` of the policy, whose variables or files cannot be read here: {}. No key may \
             have the same text as another.",
            unread.join(", ")
        ));
    }
    let is_file = |file: &&Path| !arguments.dry_run && *file != Path::new("-");
    if let Some(file) = arguments.file.as_deref().filter(is_file) {
        let file = file.display();
        terminal.say(&format!("{file} still has them in plain text: delete it once they work."));
    }
}

fn foreign(context: &Context, arguments: &Arguments) -> Result<ForeignKeys, CommandFailure> {
    let mut foreign = match &arguments.file {
        Some(file) => arguments.form.read(file)?,
        None => ForeignKeys::default(),
    };
    let environment = environment(context, arguments)?;
    for (variable, name) in &arguments.env {
        let text = environment.get(variable).ok_or_else(|| {
            CommandFailure::new(format!(
                "the variable {variable} is not set, or is empty; nothing was imported"
            ))
        })?;
        if !foreign.add(name, text) {
            return Err(CommandFailure::new(format!("there are two keys `{name}`; nothing was imported")));
        }
    }
    arguments.form.apply_preset(&mut foreign);
    foreign.allow(&arguments.allow);
    Ok(foreign)
}

/// The variables of the process. If one of the named ones is not set, those of `server.env_file` are added.
fn environment(context: &Context, arguments: &Arguments) -> Result<Environment, CommandFailure> {
    let is_set = |(variable, _): &(String, String)| context.environment.has(variable);
    match context.config_path() {
        Some(path) if !arguments.env.iter().all(is_set) => {
            let outline = Outline::read(&path).map_err(CommandFailure::Config)?;
            let environment = outline.environment(&context.environment);
            environment.map_err(|fault| CommandFailure::Config(vec![fault]))
        }
        _ => Ok(context.environment.clone()),
    }
}

fn read(file: &Path, lenient: bool) -> Result<ForeignKeys, CommandFailure> {
    let ImportText { shown, text } = ImportText::read(file)?;
    let foreign = if lenient { ForeignKeys::lenient(&text) } else { serde_json::from_str(&text) };
    // The error of serde_json may quote a key of the file: only its place is printed.
    foreign.map_err(|error| {
        let shape = r#"{"api_keys": {"NAME": "KEY"}, "key_permissions": {"NAME": ["PATTERN"]}}"#;
        let help = if lenient { "" } else { " (`--lenient` ignores other members)" };
        CommandFailure::new(format!(
            "{shown}:{}:{} does not have the form {shape}{help}; nothing was imported",
            error.line(),
            error.column()
        ))
    })
}
