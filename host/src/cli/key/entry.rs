//! Entries of a store, as the commands show them, and their use by the running Witgate.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use witgate_api_key::store::{Store, StoredKey, Time};

use crate::cli::change_state::{self, ChangeState, WaitOption};
use crate::cli::context::Context;
use crate::cli::outcome::Exit;
use witgate_base::clock;
use witgate_config::key_store::KeyStore;

/// Waits until the running Witgate uses a change of the store. `has` tells whether a store contains the change.
pub(in crate::cli) fn wait(
    context: &Context,
    store: &KeyStore,
    wait: WaitOption,
    has: impl Fn(&[StoredKey]) -> bool,
) -> ChangeState {
    change_state::wait(context, store.path(), wait, |text| {
        Store::parse(text).is_ok_and(|store| has(&store.keys))
    })
}

/// True if a key has a text, or had one when it was revoked.
pub(in crate::cli) fn has_text(keys: &[StoredKey], key: &StoredKey) -> bool {
    keys.iter().any(|now| now.id == key.id && (now.sha256 == key.sha256 || now.revoked.is_some()))
}

/// As [`wait`], and prints the result.
pub(in crate::cli) fn wait_and_say(
    context: &Context,
    store: &KeyStore,
    until: WaitOption,
    has: impl Fn(&[StoredKey]) -> bool,
) -> Exit {
    let outcome = wait(context, store, until, has);
    outcome.say(&context.terminal);
    outcome.exit()
}

pub(in crate::cli) fn to_json(key: &StoredKey) -> Value {
    json!({
        "name": key.name,
        "id": key.id,
        "state": state(key),
        "roles": key.roles,
        "scopes": key.scopes,
        "allow": key.allow,
        "deny": key.deny,
        "created": written(key.created),
        "expires": key.expires.map(written),
        "revoked": key.revoked.map(written),
        "previous_until": key.previous.as_ref().map(|previous| written(previous.until)),
    })
}

pub(in crate::cli) fn state(key: &StoredKey) -> &'static str {
    let now = now();
    match key {
        StoredKey { revoked: Some(_), .. } => "revoked",
        StoredKey { expires: Some(end), .. } if *end <= now => "expired",
        StoredKey { previous: Some(previous), .. } if previous.until > now => "rotating",
        _ => "good",
    }
}

pub(in crate::cli) fn now() -> Time {
    Time(clock::since_epoch().as_secs())
}

pub(in crate::cli) fn from_now(duration: Duration) -> Time {
    Time(now().0.saturating_add(duration.as_secs()))
}

pub(in crate::cli) fn written(time: Time) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_secs(time.0)) {
        // A store holds no time after the year 9999. Beyond it, humantime panics.
        Some(time_) if time.0 < 253_402_300_800 => humantime::format_rfc3339_seconds(time_).to_string(),
        _ => "never".to_owned(),
    }
}
