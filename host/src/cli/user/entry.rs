//! Users of a store, as the commands show them, and their use by the running Witgate.

use serde_json::{Value, json};
use witgate_basic::hash::HashKind;
use witgate_basic::users::{StoredUser, Users};

use crate::cli::change_state::{self, ChangeState, WaitOption};
use crate::cli::context::Context;
use crate::cli::key::written;
use crate::cli::outcome::Exit;
use witgate_config::user_store::UserStore;

/// True if a store has a user with this hash. A login may have renewed an outdated one meanwhile.
pub(super) fn has(users: &[StoredUser], user: &StoredUser) -> bool {
    let may_be_renewed = !user.hash.is_current();
    let is_it = |now: &StoredUser| now.hash == user.hash || (may_be_renewed && now.hash.is_current());
    users.iter().any(|now| now.id == user.id && is_it(now))
}

/// Waits until the running Witgate uses the change of `user`, and prints the result.
pub(super) fn finish(
    context: &Context,
    store: &UserStore,
    until: WaitOption,
    user: &StoredUser,
    has: impl Fn(&[StoredUser]) -> bool,
) -> Exit {
    let outcome = wait(context, store, until, has);
    if context.terminal.is_json() {
        let mut json = to_json(user);
        if let Some(members) = json.as_object_mut() {
            members.insert("in_force".to_owned(), outcome.json());
        }
        context.terminal.print_json(&json);
    }
    outcome.say(&context.terminal);
    outcome.exit()
}

pub(super) fn wait(
    context: &Context,
    store: &UserStore,
    until: WaitOption,
    has: impl Fn(&[StoredUser]) -> bool,
) -> ChangeState {
    change_state::wait(context, store.path(), until, |text| {
        Users::parse(text).is_ok_and(|users| has(&users.users))
    })
}

pub(super) fn to_json(user: &StoredUser) -> Value {
    json!({
        "name": user.name,
        "id": user.id,
        "state": state(user),
        "roles": user.roles,
        "scopes": user.scopes,
        "allow": user.allow,
        "deny": user.deny,
        "hash": algorithm(user),
        "created": written(user.created),
        "disabled": user.disabled.map(written),
    })
}

pub(super) fn state(user: &StoredUser) -> &'static str {
    if user.disabled.is_some() { "disabled" } else { "good" }
}

/// The algorithm of the hash.
pub(super) fn algorithm(user: &StoredUser) -> &'static str {
    match user.hash.kind() {
        HashKind::Argon2(_) => "argon2",
        HashKind::Bcrypt(_) => "bcrypt",
        HashKind::Scrypt { .. } => "scrypt",
        HashKind::Pbkdf2Sha256(_) => "pbkdf2",
    }
}
