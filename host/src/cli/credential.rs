//! `witgate credential`: the credentials towards upstreams, and the logins for them.

mod grants;
mod import;
mod login;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};

use super::context::Context;
use super::outcome::{CommandFailure, Exit};
use super::runtime::runtime;
use super::terminal::table;
use grants::{failed, grant, named, ways};
use witgate_base::clock;
use witgate_config::Config;
use witgate_config::credentials::{CredentialSettings, OutboundSource};
use witgate_credentials::fault::OutboundFault;
use witgate_credentials::grant_store::{GrantStore, StoredGrant};
use witgate_credentials::registry::OutboundCredentials;
use witgate_credentials::upstream_credential::UpstreamCredential;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the credentials towards upstreams, with their state
    List,
    /// Show the state of one credential
    Status(NameArgument),
    /// Log in at the provider of a credential, with a browser
    Login(login::Arguments),
    /// Get a new token now, if the credential is a token
    Refresh(NameArgument),
    /// Forget the tokens of a login
    Logout(NameArgument),
    /// Store tokens that a provider has issued elsewhere
    Import(import::Arguments),
    /// Check that a credential can be obtained, without sending it to an upstream
    Test(NameArgument),
}

#[derive(Debug, clap::Args)]
pub(super) struct NameArgument {
    /// Name under `[credentials]`
    name: String,
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, CommandFailure> {
    let config = context.load()?.config;
    match command {
        Command::List => Ok(list(context, config.credentials.values())),
        Command::Status(NameArgument { name }) => Ok(list(context, [named(&config, &name)?])),
        Command::Login(arguments) => login::run(context, &config, &arguments),
        Command::Refresh(NameArgument { name }) => refresh(context, &config, &name),
        Command::Logout(NameArgument { name }) => logout(context, &config, &name),
        Command::Import(arguments) => import::run(context, &config, &arguments),
        Command::Test(NameArgument { name }) => test(context, &config, &name),
    }
}

fn list<'c>(context: &Context, credentials: impl IntoIterator<Item = &'c Arc<CredentialSettings>>) -> Exit {
    let states: Vec<_> = credentials.into_iter().map(|credential| CredentialRow::of(credential)).collect();
    if context.terminal.is_json() {
        let all: Vec<_> = states.iter().map(CredentialRow::json).collect();
        context.terminal.print_json(&Value::from(all));
    } else {
        let rows: Vec<_> = states.iter().map(CredentialRow::row).collect();
        context.terminal.print(&table(&["NAME", "KIND", "STATE", "ACCOUNT", "EXPIRES"], &rows));
    }
    Exit::Done
}

/// A credential with its state.
struct CredentialRow {
    name: Arc<str>,
    kind: &'static str,
    state: String,
    account: Option<String>,
    end: Option<u64>,
}

impl CredentialRow {
    fn of(credential: &CredentialSettings) -> Self {
        let (name, kind) = (Arc::clone(&credential.name), credential.source.kind());
        let mut state = Self { name, kind, state: "configured".to_owned(), account: None, end: None };
        if credential.source.missing().is_some() {
            state.state = "missing".to_owned();
        } else if let OutboundSource::Grant(settings) = &credential.source {
            match GrantStore::of(settings).read(&credential.name) {
                Ok(None) => state.state = "not logged in".to_owned(),
                Ok(Some(grant)) => state.add(grant),
                Err(error) => state.state = error.to_string(),
            }
        }
        state
    }

    fn add(&mut self, grant: StoredGrant) {
        let is_over = grant.end.is_some_and(|end| end <= clock::since_epoch().as_secs());
        let state = match (grant.has_ended, is_over, grant.refresh.is_some()) {
            (true, ..) | (_, true, false) => "ended: log in again",
            (false, true, true) => "logged in, to be renewed",
            (false, false, _) => "logged in",
        };
        self.state = state.to_owned();
        (self.account, self.end) = (grant.account, grant.end);
    }

    fn json(&self) -> Value {
        json!({
            "name": &*self.name,
            "kind": self.kind,
            "state": self.state,
            "account": self.account,
            "expires_at": self.end,
        })
    }

    fn row(&self) -> Vec<String> {
        let end = self.end.map(|end| {
            let left = end.saturating_sub(clock::since_epoch().as_secs());
            format!("in {}", humantime::format_duration(Duration::from_secs(left)))
        });
        let or_nothing = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![
            self.name.to_string(),
            self.kind.to_owned(),
            self.state.clone(),
            or_nothing(self.account.clone()),
            or_nothing(end),
        ]
    }
}

/// The result of `work` with the credential, after all that it has begun. A new refresh token is written before.
fn with_credential<F>(
    config: &Config,
    name: &str,
    work: impl FnOnce(Arc<UpstreamCredential>) -> F,
) -> Result<Result<(), OutboundFault>, CommandFailure>
where
    F: Future<Output = Result<(), OutboundFault>>,
{
    let all = OutboundCredentials::new(ways(config));
    let credential = all.with(named(config, name)?);
    let credential = credential.map_err(|error| CommandFailure::new(error.to_string()))?;
    if credential.is_exchanged() {
        return Err(CommandFailure::new(format!(
            "`{name}` is made from the token of each caller: call the upstream"
        )));
    }
    Ok(runtime()?.block_on(async {
        let done = work(credential).await;
        all.settle().await;
        done
    }))
}

fn test(context: &Context, config: &Config, name: &str) -> Result<Exit, CommandFailure> {
    let obtained = with_credential(config, name, |credential| async move {
        credential.add_to(&mut HeaderMap::new(), None).await
    })?;
    Ok(told(context, obtained, &format!("the credential `{name}` can be obtained")))
}

fn refresh(context: &Context, config: &Config, name: &str) -> Result<Exit, CommandFailure> {
    let renewed = with_credential(config, name, |credential| async move { credential.renew().await })?;
    Ok(told(context, renewed, &format!("the credential `{name}` has a new token")))
}

fn told(context: &Context, result: Result<(), OutboundFault>, success: &str) -> Exit {
    match result {
        Ok(()) => {
            context.terminal.print(success);
            Exit::Done
        }
        Err(fault) => {
            context.terminal.print(&fault.to_string());
            Exit::No
        }
    }
}

fn logout(context: &Context, config: &Config, name: &str) -> Result<Exit, CommandFailure> {
    let (_, settings) = grant(config, name)?;
    let store = GrantStore::of(settings);
    let lock = store.lock(name).map_err(failed)?;
    let (text, exit) = match store.remove(name, &lock).map_err(failed)? {
        true => {
            (format!("the tokens of `{name}` are forgotten; take them back at the provider, too"), Exit::Done)
        }
        false => (format!("nobody is logged in for `{name}`"), Exit::No),
    };
    context.terminal.print(&text);
    Ok(exit)
}
