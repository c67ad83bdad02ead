//! Keys that people make for themselves, in policies of the kind `api-key`.

use serde_json::{Value, json};

use super::accounts::{place, second_factor};
use super::resolver::{Presence, Resolver};
use crate::accounts::SecondFactorRule;
use crate::raw;

/// The setting of the policy.
pub(super) const OF_ACCOUNTS: &str = "accounts";

/// The settings of the plugin that have its place: the file, the scopes, and who needs a second factor.
const FILE: &str = "owned";
const SCOPES: &str = "owned_scopes";
const FOR_ALL: &str = "owned_second_factor";
const FOR_ROLES: &str = "owned_second_factor_roles";

/// Replaces the plugin's settings in its schema by the one that an operator writes.
pub(super) fn write_in(schema: &mut Value) -> Option<()> {
    let properties = schema.get_mut("properties")?.as_object_mut()?;
    for name in [FILE, SCOPES, FOR_ALL, FOR_ROLES] {
        properties.remove(name);
    }
    let about = "True: the keys that people have made for themselves (`[accounts]`) are accepted.";
    let written = json!({ "type": "boolean", "default": false, "description": about });
    properties.insert(OF_ACCOUNTS.to_owned(), written);
    Some(())
}

impl Resolver<'_> {
    /// The settings of the plugin: with the file of keys, the scopes and the second factor of the accounts, if
    /// the policy is for them.
    pub(super) fn own_keys(&mut self, file: &raw::File, name: &str, written: &raw::Policy) -> Value {
        let mut settings = written.config.clone();
        let is_for_accounts = settings.remove(OF_ACCOUNTS).is_some_and(|value| value == Value::Bool(true));
        if !is_for_accounts {
            return Value::Object(settings);
        }
        let at = ["policies", name, "config", OF_ACCOUNTS];
        let Some(accounts) = &file.accounts else {
            if !self.document.has(&["accounts"]) {
                let message =
                    format!("the policy `{name}` is for keys of accounts, and there is no `[accounts]`");
                self.error(&at, message, "add a table `[accounts]`, or leave `accounts` out");
            }
            return Value::Object(settings);
        };
        let place = place(file, &self.base);
        let path = place.own_keys();
        // Without the database, that is the error.
        if matches!(self.presence(&at, &place.store), Presence::File)
            && !matches!(self.presence(&at, &path), Presence::File | Presence::Unknown)
        {
            let message = format!("there is no file `{}`", path.display());
            self.error(&at, message, "make it again: `witgate accounts repair`");
        }
        settings.insert(FILE.to_owned(), path.display().to_string().into());
        settings.insert(SCOPES.to_owned(), json!(accounts.scopes.keys().collect::<Vec<_>>()));
        let (name, who) = match second_factor(accounts) {
            SecondFactorRule::Everybody => (FOR_ALL, json!(true)),
            SecondFactorRule::Roles(roles) => (FOR_ROLES, json!(roles)),
        };
        settings.insert(name.to_owned(), who);
        Value::Object(settings)
    }
}
