//! `witgate credential`: the credentials towards upstreams, and the logins for them.

mod grants;
mod import;
mod login;
mod owner;
mod trial;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::HeaderMap;
use serde_json::{Value, json};

use super::context::Context;
use super::outcome::{CommandFailure, Exit};
use super::runtime::runtime;
use super::terminal::table;
use grants::{failed, grant, named, ways};
use owner::{OwnerArguments, grants as grants_of};
use witgate_base::clock;
use witgate_base::party::Principal;
use witgate_base::printable::clean;
use witgate_config::Config;
use witgate_config::credentials::{CredentialSettings, OutboundSource};
use witgate_credentials::credential_user::CredentialUser;
use witgate_credentials::fault::OutboundFault;
use witgate_credentials::grant_key::GrantKey;
use witgate_credentials::grant_store::{GrantError, GrantStore, StoredGrant};
use witgate_credentials::registry::OutboundCredentials;
use witgate_credentials::upstream_credential::UpstreamCredential;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the credentials towards upstreams, with their state
    List,
    /// Show the state of one credential
    Status(GrantArguments),
    /// Log in at the provider of a credential, with a browser
    Login(login::Arguments),
    /// Get a new token now, if the credential is a token
    Refresh(GrantArguments),
    /// Forget the tokens of a login
    Logout(GrantArguments),
    /// Store tokens that a provider has issued elsewhere
    Import(import::Arguments),
    /// Check that a credential can be obtained, and with `--send` also that servers accept it
    Test(TestArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct GrantArguments {
    /// Name under `[credentials]`
    name: String,
    #[command(flatten)]
    owner: OwnerArguments,
}

#[derive(Debug, clap::Args)]
pub(super) struct TestArguments {
    #[command(flatten)]
    grant: GrantArguments,
    /// Send it to each upstream and API that it is for: a `ping` to servers, a GET to APIs
    #[arg(long)]
    send: bool,
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, CommandFailure> {
    let config = context.load()?.config;
    match command {
        Command::List => {
            let rows = config.credentials.values().map(|credential| rows(credential));
            let rows: Result<Vec<_>, _> = rows.collect();
            Ok(list(context, &rows?.concat()))
        }
        Command::Status(arguments) => status(context, &config, &arguments),
        Command::Login(arguments) => login::run(context, &config, &arguments),
        Command::Refresh(arguments) => refresh(context, &config, &arguments),
        Command::Logout(arguments) => logout(context, &config, &arguments),
        Command::Import(arguments) => import::run(context, &config, &arguments),
        Command::Test(arguments) => test(context, &config, &arguments),
    }
}

/// One credential, or with a caller, their grant.
fn status(context: &Context, config: &Config, arguments: &GrantArguments) -> Result<Exit, CommandFailure> {
    let credential = named(config, &arguments.name)?;
    let rows = match &credential.source {
        OutboundSource::Grant(settings) if arguments.owner.names_somebody() => {
            vec![CredentialRow::of(credential, &arguments.owner.key(config, credential, settings)?)]
        }
        _ => rows(credential)?,
    };
    Ok(list(context, &rows))
}

fn list(context: &Context, rows: &[CredentialRow]) -> Exit {
    if context.terminal.is_json() {
        let all: Vec<_> = rows.iter().map(CredentialRow::json).collect();
        context.terminal.print_json(&Value::from(all));
    } else {
        let rows: Vec<_> = rows.iter().map(CredentialRow::row).collect();
        context.terminal.print(&table(&["NAME", "KIND", "CALLER", "STATE", "ACCOUNT", "EXPIRES"], &rows));
    }
    Exit::Done
}

/// The rows of a credential: one, or one for each caller with an account.
fn rows(credential: &CredentialSettings) -> Result<Vec<CredentialRow>, CommandFailure> {
    let grants = grants_of(credential)?;
    let mut rows: Vec<_> = grants.keys.iter().map(|key| CredentialRow::of(credential, key)).collect();
    let unreadable = |error: &GrantError| CredentialRow::in_state(credential, &error.to_string());
    rows.extend(grants.unreadable.iter().map(unreadable));
    if rows.is_empty() {
        rows.push(CredentialRow::without_accounts(credential));
    }
    Ok(rows)
}

/// A credential with its state.
#[derive(Clone)]
struct CredentialRow {
    name: Arc<str>,
    kind: &'static str,
    /// The caller. None: all share it.
    caller: Option<Principal>,
    state: String,
    account: Option<String>,
    end: Option<u64>,
}

impl CredentialRow {
    fn in_state(credential: &CredentialSettings, state: &str) -> Self {
        let (name, kind) = (Arc::clone(&credential.name), credential.source.kind());
        Self { name, kind, caller: None, state: state.to_owned(), account: None, end: None }
    }

    /// A credential for which no caller has connected an account.
    fn without_accounts(credential: &CredentialSettings) -> Self {
        let is_missing = credential.source.missing().is_some();
        Self::in_state(credential, if is_missing { "missing" } else { "no account is connected" })
    }

    fn of(credential: &CredentialSettings, key: &GrantKey) -> Self {
        let mut state = Self::in_state(credential, "configured");
        state.caller = key.owner().cloned();
        if credential.source.missing().is_some() {
            state.state = "missing".to_owned();
        } else if let OutboundSource::Grant(settings) = &credential.source {
            match GrantStore::of(settings).read(key) {
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
            "caller": self.caller.as_ref().map(|caller| json!({
                "policy": caller.proven_by(), "issuer": caller.issuer(), "subject": caller.subject(),
            })),
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
            or_nothing(self.caller.as_ref().map(|caller| clean(caller.subject()))),
            self.state.clone(),
            or_nothing(self.account.clone()),
            or_nothing(end),
        ]
    }
}

/// The result of `work` with the credential, after all that it has begun. A new refresh token is written before.
fn with_credential<T, F>(
    config: &Config,
    arguments: &GrantArguments,
    work: impl FnOnce(Arc<UpstreamCredential>, Option<CredentialUser>) -> F,
) -> Result<Result<T, OutboundFault>, CommandFailure>
where
    F: Future<Output = Result<T, OutboundFault>>,
{
    let name = &arguments.name;
    let all = OutboundCredentials::new(ways(config));
    let settings = named(config, name)?;
    let key = match &settings.source {
        OutboundSource::Grant(grant) => arguments.owner.key(config, settings, grant)?,
        _ => arguments.owner.new_key(config, settings)?,
    };
    let user = key.owner().map(|owner| CredentialUser::new(owner.clone(), None));
    let credential = all.with(settings);
    let credential = credential.map_err(|error| CommandFailure::new(error.to_string()))?;
    if credential.is_exchanged() {
        return Err(CommandFailure::new(format!(
            "`{name}` is made from the token of each caller: call the upstream"
        )));
    }
    Ok(runtime()?.block_on(async {
        let done = work(credential, user).await;
        all.settle().await;
        done
    }))
}

fn test(context: &Context, config: &Config, arguments: &TestArguments) -> Result<Exit, CommandFailure> {
    let name = &arguments.grant.name;
    let places = if arguments.send { trial::places(config, name) } else { Vec::new() };
    let has_no_place = arguments.send && places.is_empty();
    let ways = ways(config);
    let tested = with_credential(config, &arguments.grant, |credential, user| async move {
        let mut headers = HeaderMap::new();
        credential.add_to(&mut headers, user.as_ref()).await?;
        let answers = places.iter().map(|place| trial::answer(&ways, place, headers.clone()));
        Ok(join_all(answers).await)
    })?;
    let obtained = format!("the credential `{name}` can be obtained");
    let (result, answers) = match tested {
        Ok(answers) => (Ok(()), answers),
        Err(fault) => (Err(fault), Vec::new()),
    };
    let exit = told(context, result, &obtained);
    answers.iter().for_each(|answer| context.terminal.print(&answer.report));
    if has_no_place {
        context.terminal.print("no server or API gets it, so nothing was sent");
    }
    let is_good = !has_no_place && answers.iter().all(|answer| answer.is_good);
    Ok(if is_good { exit } else { Exit::No })
}

fn refresh(context: &Context, config: &Config, arguments: &GrantArguments) -> Result<Exit, CommandFailure> {
    let renewed = with_credential(config, arguments, |credential, user| async move {
        credential.renew(user.as_ref()).await
    })?;
    Ok(told(context, renewed, &format!("the credential `{}` has a new token", arguments.name)))
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

fn logout(context: &Context, config: &Config, arguments: &GrantArguments) -> Result<Exit, CommandFailure> {
    let (credential, settings) = grant(config, &arguments.name)?;
    let key = arguments.owner.key(config, credential, settings)?;
    let store = GrantStore::of(settings);
    let lock = store.lock(&key).map_err(failed)?;
    let (text, exit) = match store.remove(&key, &lock).map_err(failed)? {
        true => {
            (format!("the tokens of {key} are forgotten; take them back at the provider, too"), Exit::Done)
        }
        false => (format!("nobody is logged in for {key}"), Exit::No),
    };
    context.terminal.print(&text);
    Ok(exit)
}
