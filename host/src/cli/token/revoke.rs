//! `witgate token revoke`: adds a line to the file of revoked tokens that jwt policies watch, and has the running
//! Witgate forget what an authorization server said about the token.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use witgate_jwt::revocation::{RevokedError, RevokedToken, entries};

use super::argument::token;
use super::forget::{forget, forget_and_tell};
use crate::cli::accounts::until_ended;
use crate::cli::change_state::{self, ChangeState, WaitOption};
use crate::cli::context::Context;
use crate::cli::key::now;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_accounts::database::AccountDatabase;
use witgate_base::whole_file::{self, Lock};
use witgate_config::raw::{Kind, Policy};
use witgate_config::resolve::Outline;

/// Seconds that a line stays after its token's end: no policy accepts the token later than this.
const LONGEST_LEEWAY_S: u64 = 3600;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Token; absent or `-`: read from standard input, which keeps it out of the shell's history
    #[arg(conflicts_with = "jti")]
    token: Option<String>,
    /// Id of the token (`jti`), instead of the token itself
    #[arg(long, value_name = "ID")]
    jti: Option<String>,
    /// Issuer of the token with that id [default: any issuer]
    #[arg(long, value_name = "URL", requires = "jti")]
    issuer: Option<String>,
    /// Policy of kind jwt whose file of revoked tokens to extend [default: all that accept the token's issuer]
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    #[command(flatten)]
    wait: WaitOption,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let token = match &arguments.jti {
        Some(_) => None,
        None => Some(token(arguments.token.as_deref())?),
    };
    if let (Some(token), None) = (&token, &arguments.policy)
        && let Some(exit) = end_login(context, token, arguments.wait)?
    {
        return Ok(exit);
    }
    // Only its authorization server can read and revoke the token. Witgate can do no more than ask that server again.
    if let Some(token) = token.as_ref().filter(|token| is_opaque(token)) {
        return forget_and_tell(context, token);
    }
    let entry = entry(arguments, token.as_ref())?;
    let files = files(context, arguments.policy.as_deref(), entry.iss.as_deref())?;
    for file in &files {
        write(file, &entry, now().0)?;
    }
    let outcome = in_force(context, &files, arguments.wait, &entry);
    // If no Witgate is running, nobody keeps an answer for the token.
    if let Some(token) = &token {
        forget(context, token);
    }
    let shown: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    match context.terminal.is_json() {
        true => {
            let json =
                json!({ "jti": entry.jti, "issuer": entry.iss, "files": shown, "in_force": outcome.json() });
            context.terminal.print_json(&json);
        }
        false => context.terminal.print(&format!("revoked `{}` in {}", entry.jti, shown.join(", "))),
    }
    outcome.say(&context.terminal);
    Ok(outcome.exit())
}

/// Ends the login of a token that `[accounts]` has issued, with all its tokens. None: it is no such token. If the accounts
/// cannot be used, nobody knows; `--policy` names a policy of another issuer then.
fn end_login(
    context: &Context,
    token: &SecretString,
    wait: WaitOption,
) -> Result<Option<Exit>, CommandFailure> {
    let Some(path) = context.config_path() else { return Ok(None) };
    let Some(place) = Outline::read(&path).map_err(CommandFailure::Config)?.accounts() else {
        return Ok(None);
    };
    let mut database = AccountDatabase::open(&place)?;
    let Some(has_ended) = database.revoke_any(token.expose_secret())? else { return Ok(None) };
    let outcome = until_ended(context, &database, wait);
    match context.terminal.is_json() {
        true => {
            let file = place.ended().display().to_string();
            let json = json!({ "login": true, "files": [file], "in_force": outcome.json() });
            context.terminal.print_json(&json);
        }
        false => context.terminal.print(match has_ended {
            true => "The login of this token has ended, and with it all its tokens.",
            false => "The login of this token had ended before.",
        }),
    }
    outcome.say(&context.terminal);
    Ok(Some(outcome.exit()))
}

/// The state of the change in the running Witgate; if a file is not in use yet, the state of the first such file.
fn in_force(
    context: &Context,
    files: &BTreeSet<PathBuf>,
    wait: WaitOption,
    entry: &RevokedToken,
) -> ChangeState {
    let has = |text: &str| entries(text).is_ok_and(|entries| entries.contains(entry));
    let mut outcome = ChangeState::NotAsked;
    for file in files {
        outcome = change_state::wait(context, file, wait, has);
        if matches!(outcome, ChangeState::No(_)) {
            break;
        }
    }
    outcome
}

/// True if a token is opaque: it carries no claims that this command can read.
fn is_opaque(token: &SecretString) -> bool {
    token.expose_secret().split('.').count() != 3
}

fn entry(arguments: &Arguments, token: Option<&SecretString>) -> Result<RevokedToken, CommandFailure> {
    let (jti, iss) = (arguments.jti.clone().unwrap_or_default(), arguments.issuer.clone());
    let Some(token) = token else { return Ok(RevokedToken { jti, iss, exp: None }) };
    RevokedToken::of_token(token.expose_secret()).map_err(|refusal| {
        CommandFailure::new(format!("{}; name its id by `--jti`", refusal.detail.unwrap_or(refusal.reason)))
    })
}

/// The files of the policies that judge tokens of `issuer`, each once.
fn files(
    context: &Context,
    policy: Option<&str>,
    issuer: Option<&str>,
) -> Result<BTreeSet<PathBuf>, CommandFailure> {
    let path = context.config_path().ok_or_else(|| {
        CommandFailure::new(
            "there is no configuration file that says where revoked tokens are; name it with `--config FILE`",
        )
    })?;
    let outline = Outline::read(&path).map_err(CommandFailure::Config)?;
    let is_meant = |name: &str, own: &Policy| match policy {
        Some(wanted) => wanted == name,
        None => takes(own, issuer),
    };
    let jwt = outline.file.policies.iter().filter(|(_, policy)| matches!(policy.kind, Kind::Jwt));
    let files: BTreeSet<_> = jwt
        .filter(|(name, policy)| is_meant(name, policy))
        .filter_map(|(_, policy)| policy.config.get("revoked")?.as_str())
        .map(|file| outline.base.join(file))
        .collect();
    if files.is_empty() {
        return Err(CommandFailure::new(format!(
            "{} has no jwt policy for this token with a file of revoked ones; add `revoked = \"revoked.jsonl\"` to its \
             `config`, and make that file",
            path.display()
        )));
    }
    Ok(files)
}

fn takes(policy: &Policy, issuer: Option<&str>) -> bool {
    match (policy.config.get("issuer"), issuer) {
        (Some(Value::String(own)), Some(issuer)) => own == issuer,
        (Some(Value::Array(all)), Some(issuer)) => all.iter().any(|own| own == issuer),
        (Some(_), None) | (None, _) => true,
        // An entry of the wrong type, which `check` reports.
        (Some(_), Some(_)) => false,
    }
}

/// Writes in one atomic step: a reader sees the file with the line or without it.
fn write(path: &Path, entry: &RevokedToken, now: u64) -> Result<(), CommandFailure> {
    let failed = |error: whole_file::FileError| CommandFailure::new(error.to_string());
    let lock = Lock::take(path).map_err(failed)?;
    let text = whole_file::read(path).map_err(failed)?.unwrap_or_default();
    let with = added(&text, entry, now).map_err(|error| {
        CommandFailure::new(format!("{}: {error}; nothing was written. Correct that line", path.display()))
    })?;
    lock.replace(&with).map_err(failed)
}

/// The text with `entry`, and without the tokens that ended long ago. Comments stay.
fn added(text: &str, entry: &RevokedToken, now: u64) -> Result<String, RevokedError> {
    let known = entries(text)?.contains(entry);
    let is_over = |line: &str| {
        let end = RevokedToken::parse(line).ok().and_then(|entry| entry.exp);
        end.is_some_and(|end| end.saturating_add(LONGEST_LEEWAY_S) < now)
    };
    let kept = text.lines().filter(|line| !is_over(line)).map(str::to_owned);
    let new = (!known).then(|| entry.to_string());
    Ok(kept.chain(new).map(|line| line + "\n").collect())
}

#[cfg(test)]
mod tests {
    use witgate_jwt::revocation::RevokedToken;

    use super::added;

    #[test]
    fn a_revocation_adds_a_line_and_removes_those_of_expired_tokens() {
        let entry = RevokedToken {
            jti: "new \"one\"".to_owned(),
            iss: Some("https://a".to_owned()),
            exp: Some(9000),
        };
        let text = "# kept\n{\"jti\":\"over\",\"exp\":1000}\n\n{\"jti\":\"just over\",\"exp\":2000}\n{\"jti\":\"ever\"}";
        let with = added(text, &entry, 5000).unwrap();
        let line = "{\"jti\":\"new \\\"one\\\"\",\"iss\":\"https://a\",\"exp\":9000}\n";
        let kept = "# kept\n\n{\"jti\":\"just over\",\"exp\":2000}\n{\"jti\":\"ever\"}\n";
        assert_eq!(with, format!("{kept}{line}"));
        // A second `revoke` adds no second line.
        assert_eq!(added(&with, &entry, 5000).unwrap(), with);
        assert_eq!(added("", &entry, 5000).unwrap(), line);
    }

    #[test]
    fn an_unreadable_file_is_not_overwritten() {
        let entry = RevokedToken { jti: "a".to_owned(), iss: None, exp: None };
        for text in [
            "{\"jti\":5}",
            "a",
            "{\"jti\":\"a\",\"jti\":\"b\"}",
            "{\"jti\":\"\"}",
            "{\"jti\":\"a\",\"exp\":-1}",
        ] {
            assert!(added(text, &entry, 0).is_err(), "{text}");
        }
    }
}
