//! `witgate key check`.

use std::io::Read;

use serde_json::json;
use witgate_api_key::store::{Store, StoredKey};
use zeroize::Zeroizing;

use super::entry::{now, written};
use super::store_place::{StorePlace, all_keys};
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_config::key_store::diagnosis;
use witgate_config::resolve::ConfiguredKey;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Key; absent or `-`: read from standard input, which keeps it from other users and the shell's history
    #[arg(allow_hyphen_values = true)]
    key: Option<String>,
    #[command(flatten)]
    place: StorePlace,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let (store, configured) = all_keys(context, &arguments.place)?;
    let text = text(context, arguments.key.as_deref())?;
    let (name, fault) = judge(&store, &configured, &text);
    let terminal = &context.terminal;
    match (&fault, terminal.is_json()) {
        (_, true) => terminal.print_json(&json!({
            "good": fault.is_none(),
            "name": name,
            "reason": fault.as_ref().map(|(reason, _)| reason),
            "detail": fault.as_ref().map(|(_, detail)| detail),
        })),
        (None, false) => terminal.print(&format!("valid: the key `{}`", name.unwrap_or_default())),
        (Some((reason, detail)), false) => terminal.print(&format!("not valid: {reason}: {detail}")),
    }
    Ok(if fault.is_none() { Exit::Done } else { Exit::No })
}

/// The name of the key, and the reason code and the reason why it is not valid.
fn judge<'s>(
    store: &'s Store,
    configured: &'s [ConfiguredKey],
    text: &str,
) -> (Option<&'s str>, Option<(&'static str, String)>) {
    if let Some((key, is_former)) = diagnosis::entry_of(store, text) {
        return (Some(&key.name), ended(key, is_former));
    }
    if let Some(key) = diagnosis::configured(configured, text) {
        return (Some(&key.name), None);
    }
    let mut detail = diagnosis::unknown(store, text);
    let unread = configured.iter().filter(|key| key.sha256.is_none()).map(|key| format!("`{}`", key.name));
    let unread: Vec<_> = unread.collect();
    if !unread.is_empty() {
        detail.push_str(
            "; not compared with these `keys` of the policy, whose variables or files cannot be read here: ",
        );
        detail.push_str(&unread.join(", "));
    }
    (None, Some(("unknown-key", detail)))
}

fn ended(key: &StoredKey, is_former: bool) -> Option<(&'static str, String)> {
    let name = &key.name;
    if key.revoked.is_some() {
        return Some(("revoked", format!("it is the key `{name}`, which is revoked")));
    }
    if let Some(end) = key.expires.filter(|end| *end <= now()) {
        return Some(("expired", format!("it is the key `{name}`, which has expired at {}", written(end))));
    }
    let until = key.previous.as_ref().filter(|_| is_former).map(|former| former.until);
    let until = written(until.filter(|until| *until <= now())?);
    Some(("expired", format!("it is the text of `{name}` before a rotation, valid until {until}")))
}

/// The key as it is, except for the line break with which standard input ends.
fn text(context: &Context, argument: Option<&str>) -> Result<Zeroizing<String>, CommandFailure> {
    if let Some(key) = argument.filter(|key| *key != "-") {
        context.terminal.say(
            "Other users of this machine can see a key on the command line; `witgate key check -` reads it from standard \
             input.",
        );
        return Ok(Zeroizing::new(key.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| CommandFailure::new(format!("no key could be read from standard input: {error}")))?;
    let length = text.strip_suffix("\r\n").or(text.strip_suffix('\n')).map_or(text.len(), str::len);
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use witgate_config::key_store::{KeyStore, NewKey};

    use super::*;

    #[test]
    fn a_key_that_fails_gets_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let store = KeyStore::at(folder.path().join("keys.toml"));
        let made = store.create(NewKey { name: "ci".to_owned(), ..NewKey::default() }, now()).unwrap();
        let key = made.text.reveal();
        let judged = |text: &str| {
            let store = store.read().unwrap();
            let (name, fault) = judge(&store, &[], text);
            (name.map(str::to_owned), fault.map(|(reason, detail)| format!("{reason}: {detail}")))
        };
        assert_eq!(judged(key), (Some("ci".to_owned()), None));
        for (text, said) in [
            (key[..46].to_owned(), "shorter than the usual Witgate key"),
            (format!("{key} "), "it is the key `ci`"),
            (format!("'{key}'"), "it is the key `ci`"),
            ("sk-012".to_owned(), "begins with `sk-`"),
        ] {
            let fault = judged(&text).1.unwrap();
            assert!(fault.starts_with("unknown-key: ") && fault.contains(said), "{fault}");
            assert!(!fault.contains(&key[4..12]) && !fault.contains("012"), "{fault}");
        }
        let turned = store.rotate("ci", Some(now()), None, Default::default()).unwrap();
        assert!(judged(key).1.unwrap().starts_with("expired: it is the text of `ci` before a rotation"));
        store.revoke("ci", now()).unwrap();
        assert_eq!(judged(turned.text.reveal()).1.unwrap(), "revoked: it is the key `ci`, which is revoked");
    }

    #[test]
    fn keys_of_the_configuration_are_compared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witgate.toml");
        let keys =
            "keys = [{ name = 'ci', key = { env = 'CI_KEY' } }, { name = 'cd', key = { env = 'CD_KEY' } }]";
        let config = format!(
            "[server]\nenv_file = '.env'\n[policies.keys]\nkind = 'api-key'\nconfig = {{ {keys} }}\n"
        );
        std::fs::write(&path, config).unwrap();
        std::fs::write(folder.path().join(".env"), "CI_KEY=-0123456789abcdef0123456789abcdef\n").unwrap();
        let context = Context {
            config: Some(path),
            environment: std::iter::empty::<(&str, &str)>().collect(),
            terminal: crate::cli::terminal::Terminal::new(true),
        };
        let arguments = |words: &[&str]| {
            let words = ["check"].iter().chain(words);
            <Arguments as clap::FromArgMatches>::from_arg_matches(
                &<Arguments as clap::Args>::augment_args(clap::Command::new("check")).get_matches_from(words),
            )
            .unwrap()
        };
        let given = arguments(&["-0123456789abcdef0123456789abcdef", "--policy", "keys"]);
        let (store, configured) = all_keys(&context, &given.place).unwrap();
        assert_eq!(judge(&store, &configured, given.key.as_deref().unwrap()), (Some("ci"), None));
        let fault = judge(&store, &configured, "0123").1.unwrap().1;
        assert!(fault.contains("not compared with these `keys`") && fault.ends_with(": `cd`"), "{fault}");
        let without_store = super::super::store_place::place(&context, &given.place).unwrap_err().to_string();
        assert!(without_store.contains("has no store"), "{without_store}");
    }
}
