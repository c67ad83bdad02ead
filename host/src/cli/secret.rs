//! `witgate secret`.

mod input;
mod place;
mod transfer;
mod users;

use std::ffi::OsString;

use serde_json::json;

use self::place::{OlderStore, changeable, place, read};
use super::context::Context;
use super::outcome::{CommandFailure, Exit};
use super::terminal::table;
use witgate_config::secret_store::SecretStoreError;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Set a secret in the encrypted store; its value comes from the terminal, or from standard input with `-`
    Set(Set),
    /// Print a secret
    Get(Get),
    /// List the secrets, their lengths, and the settings that use them; no value is shown
    List,
    /// Remove a secret that no setting uses
    Rm(Rm),
    /// Show and change who else can decrypt the store
    #[command(subcommand)]
    Recipients(Recipients),
    /// Import secrets from a file of variables, from JSON, or from values that Fernet has encrypted
    Import(transfer::ImportArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct Set {
    /// Name of the secret
    name: String,
    /// `-`: read the value from standard input, up to its end
    #[arg(allow_hyphen_values = true)]
    input: Option<OsString>,
    /// Other words. The command refuses them itself, because the error of the parser would quote them.
    #[arg(hide = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
    #[command(flatten)]
    older: OlderStore,
}

impl Set {
    /// True if the value comes from standard input. An error quotes nothing, because people write the value there.
    fn is_piped(&self) -> Result<bool, CommandFailure> {
        match &self.input {
            None => Ok(false),
            Some(input) if input == "-" && self.rest.is_empty() => Ok(true),
            Some(_) => Err(CommandFailure::new(
                "a value is never an argument, because others can see those: leave it out and type it at the \
                 terminal, or write `-` and pass it to standard input",
            )),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Get {
    /// Name of the secret
    name: String,
    /// Print the value, which is otherwise not shown
    #[arg(long)]
    reveal: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Rm {
    /// Name of the secret
    name: String,
    #[command(flatten)]
    older: OlderStore,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Recipients {
    /// List the recipients
    List,
    /// Add a recipient, and encrypt the store for it as well
    Add {
        /// Recipient of age, which begins with `age1`
        recipient: String,
        #[command(flatten)]
        older: OlderStore,
    },
    /// Remove a recipient; it can still decrypt copies from before
    Rm {
        /// Recipient of age
        recipient: String,
        #[command(flatten)]
        older: OlderStore,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, CommandFailure> {
    match command {
        Command::Set(arguments) => set(context, &arguments),
        Command::Get(arguments) => get(context, &arguments),
        Command::List => list(context),
        Command::Rm(arguments) => remove(context, &arguments),
        Command::Recipients(command) => recipients(context, &command),
        Command::Import(arguments) => transfer::run(context, &arguments),
    }
}

fn set(context: &Context, arguments: &Set) -> Result<Exit, CommandFailure> {
    let Set { name, older, .. } = arguments;
    let is_piped = arguments.is_piped()?;
    let store = changeable(context, *older)?;
    let value = if is_piped { input::whole()? } else { input::line(name)? };
    let was_there = store.change(|secrets| {
        let was_there = secrets.get(name).is_some();
        secrets.set(name, value)?;
        Ok(was_there)
    })?;
    let done = if was_there { "has another value" } else { "is" };
    context.terminal.say(&format!("The secret `{name}` {done} in {}.", store.path().display()));
    if !was_there {
        context.terminal.say(&format!("A setting names it as `{{ stored = \"{name}\" }}`."));
    }
    Ok(Exit::Done)
}

fn get(context: &Context, arguments: &Get) -> Result<Exit, CommandFailure> {
    let Get { name, reveal } = arguments;
    let store = place(context)?;
    let secrets = read(context, &store)?;
    let Some(value) = secrets.get(name) else {
        let message = format!("`{}` has no secret `{name}`", store.path().display());
        return Err(SecretStoreError::Missing(message).into());
    };
    match (reveal, context.terminal.is_json()) {
        (false, _) => {
            return Err(CommandFailure::new(format!(
                "the secret `{name}` has {} bytes; `--reveal` prints it",
                value.len()
            )));
        }
        (true, false) => context.terminal.print(value),
        (true, true) => context.terminal.print_json(&json!({ "name": name, "value": value })),
    }
    Ok(Exit::Done)
}

fn list(context: &Context) -> Result<Exit, CommandFailure> {
    let secrets = read(context, &place(context)?)?;
    let users = users::of(context)?;
    let of = |name: &str| users.get(name).map(Vec::as_slice).unwrap_or_default();
    if context.terminal.is_json() {
        let entry = |(name, length)| json!({ "name": name, "bytes": length, "used_by": of(name) });
        context.terminal.print_json(&secrets.names().map(entry).collect());
        return Ok(Exit::Done);
    }
    let row = |(name, length): (&str, usize)| {
        let used_by = if of(name).is_empty() { "-".to_owned() } else { of(name).join(" ") };
        vec![name.to_owned(), length.to_string(), used_by]
    };
    let rows: Vec<_> = secrets.names().map(row).collect();
    context.terminal.print(&table(&["NAME", "BYTES", "USED BY"], &rows));
    for name in users.keys().filter(|name| secrets.get(name).is_none()) {
        context
            .terminal
            .say(&format!("The secret `{name}` is not in the store; {} needs it.", of(name).join(", ")));
    }
    Ok(Exit::Done)
}

fn remove(context: &Context, arguments: &Rm) -> Result<Exit, CommandFailure> {
    let Rm { name, older } = arguments;
    let store = changeable(context, *older)?;
    if let Some(users) = users::of(context)?.get(name) {
        let message = format!("the secret `{name}` is used by {}; change that first", users.join(", "));
        return Err(CommandFailure::new(message));
    }
    store.change(|secrets| secrets.remove(name))?;
    context.terminal.say(&format!("The secret `{name}` is removed from {}.", store.path().display()));
    Ok(Exit::Done)
}

fn recipients(context: &Context, command: &Recipients) -> Result<Exit, CommandFailure> {
    match command {
        Recipients::List => {
            let store = place(context)?;
            let (own, secrets) = (store.own_recipients()?, read(context, &store)?);
            if context.terminal.is_json() {
                let entry = |it: &String| json!({ "recipient": it, "is_own": own.contains(it) });
                context.terminal.print_json(&secrets.recipients().iter().map(entry).collect());
                return Ok(Exit::Done);
            }
            for recipient in secrets.recipients() {
                let mark = if own.contains(recipient) { " (own identity)" } else { "" };
                context.terminal.print(&format!("{recipient}{mark}"));
            }
        }
        Recipients::Add { recipient, older } => {
            let is_new = changeable(context, *older)?.change(|secrets| secrets.add_recipient(recipient))?;
            let done = if is_new { "can decrypt the store from now on" } else { "is a recipient already" };
            context.terminal.say(&format!("{recipient} {done}."));
        }
        Recipients::Rm { recipient, older } => {
            let store = changeable(context, *older)?;
            if store.own_recipients()?.contains(recipient) {
                let message = "this recipient belongs to the identity that is used here, which could not decrypt the store any more";
                return Err(CommandFailure::new(message));
            }
            store.change(|secrets| secrets.remove_recipient(recipient))?;
            context.terminal.say(&format!(
                "The store is encrypted without {recipient} from now on. Copies from before stay readable for it: \
                 replace the secrets themselves."
            ));
        }
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::Set;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        set: Set,
    }

    fn parsed(arguments: &[&str]) -> Set {
        Line::try_parse_from([&["set", "name"], arguments].concat()).unwrap().set
    }

    #[test]
    fn a_value_that_is_an_argument_is_refused_and_not_quoted() {
        for value in ["sesame", "-sesame", "--sesame=x", "--sesame"] {
            for arguments in
                [&[value] as &[_], &["-", value], &["open", value], &["open", value, "x"], &["--", value]]
            {
                let error = parsed(arguments).is_piped().unwrap_err().to_string();
                assert!(error.starts_with("a value is never an argument"), "{arguments:?}: {error}");
                assert!(!error.contains("sesame"), "{error}");
            }
        }
        assert!(!Line::command().render_long_help().to_string().contains("REST"));
    }

    #[test]
    fn a_dash_and_an_option_are_read_in_any_order() {
        for arguments in [&["-", "--accept-older"], &["--accept-older", "-"]] {
            let set = parsed(arguments);
            assert!(set.is_piped().unwrap() && format!("{:?}", set.older).contains("true"), "{arguments:?}");
        }
        assert!(!parsed(&[]).is_piped().unwrap());
        assert!(!parsed(&["--accept-older"]).is_piped().unwrap());
    }
}
