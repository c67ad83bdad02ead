//! The own tools about callers: who they are, their logins and keys, and the audit log. Each call has passed the pipeline
//! of its upstream, so a rule has allowed the tool to the caller.

mod audit_entries;
mod caller_login;
mod changed_file;
mod keys;
mod profile;
mod summary;

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use self::caller_login::CallerLogin;
use self::changed_file::ChangedFile;
use crate::operation::OperationLog;
use witgate_accounts::error::AccountsError;
use witgate_accounts::store::AccountStore;
use witgate_base::breaker::CallerDigest;
use witgate_config::OwnTool;
use witgate_config::accounts::AccountSettings;
use witgate_flow::lockout::LockoutTable;
use witgate_policy::generation::Generations;
use witgate_upstream::caller_tools::{CallerAnswer, CallerQuestion, CallerTools};

/// The accounts that tools tell about, and change.
#[derive(Clone)]
pub(crate) struct CallerAccounts {
    pub(crate) settings: AccountSettings,
    pub(crate) store: Arc<AccountStore>,
}

/// Answers the own tools about callers.
pub(crate) struct CallerDesk {
    accounts: Option<CallerAccounts>,
    log: OperationLog,
    /// The directory of the audit log.
    entries: Option<PathBuf>,
    lockout: Arc<LockoutTable>,
    generations: Arc<Generations>,
    /// One reader of the audit log at a time.
    reader: Arc<Semaphore>,
}

impl CallerDesk {
    /// The desk of a gateway with these accounts and this audit log in a directory.
    pub(crate) fn new(
        accounts: Option<CallerAccounts>,
        (log, entries): (OperationLog, Option<PathBuf>),
        (lockout, generations): (Arc<LockoutTable>, Arc<Generations>),
    ) -> Self {
        Self { accounts, log, entries, lockout, generations, reader: Arc::new(Semaphore::new(1)) }
    }

    async fn answer_to(&self, question: &CallerQuestion) -> CallerAnswer {
        match question.tool {
            OwnTool::AuthenticateUser => self.authenticate_user(question).await,
            OwnTool::AuthenticateWithApiKey => self.authenticate_with_api_key(question).await,
            OwnTool::Logout => self.log_out(question).await,
            OwnTool::GetUserProfile => self.profile(question).await,
            OwnTool::CreateApiKey => self.make_key(question).await,
            OwnTool::ListAuditEvents => self.list_entries(question).await,
            OwnTool::GetSecuritySummary => self.summary(question).await,
            OwnTool::HealthCheck | OwnTool::AuthStatus | OwnTool::LimitsStatus | OwnTool::IssueToken => {
                Err("This tool is not about callers".to_owned())
            }
        }
    }

    /// Ends the login of the token that was shown. Its refresh token ends with it.
    async fn log_out(&self, question: &CallerQuestion) -> CallerAnswer {
        no_arguments(question)?;
        let (accounts, login) = self.login(question)?;
        let list = ChangedFile { path: accounts.settings.place.ended(), mark: login.session() };
        let CallerLogin { user, grant } = login;
        let (source, peer) = (CallerDigest::of_peer(question.peer), question.peer);
        let ended = accounts.store.run(source, move |database| {
            database.seen_from(peer);
            database.end_grant(&user, grant, "logged-out")
        });
        match ended.await.map_err(unavailable)? {
            true => {
                let is_in_force = list.is_in_force(&self.generations).await;
                Ok(changed(json!({ "logged_out": true }), is_in_force))
            }
            false => Err("This login has ended already".to_owned()),
        }
    }

    /// The accounts, and the login of a caller who shows one of their tokens.
    fn login(&self, question: &CallerQuestion) -> Result<(&CallerAccounts, CallerLogin), String> {
        let accounts = self.accounts.as_ref().ok_or("There are no accounts here")?;
        let login = CallerLogin::of(question.caller.identity(), &accounts.settings.issuer);
        let login = login.ok_or("This is only for programs in which a person has logged in")?;
        Ok((accounts, login))
    }
}

impl CallerTools for CallerDesk {
    fn answer(&self, question: CallerQuestion) -> BoxFuture<'_, CallerAnswer> {
        Box::pin(async move { self.answer_to(&question).await })
    }
}

/// The answer to a change. It says so if the change is not in force yet.
fn changed(mut answer: Value, is_in_force: bool) -> Value {
    if let Some(members) = answer.as_object_mut().filter(|_| !is_in_force) {
        members.insert("in_force".to_owned(), false.into());
    }
    answer
}

/// The arguments of a call. None count as an empty object.
fn arguments<T: DeserializeOwned>(question: &CallerQuestion, form: &str) -> Result<T, String> {
    let text = question.arguments.as_deref().unwrap_or("{}");
    // The error could quote a value, such as a credential at a wrong place.
    serde_json::from_str(text).map_err(|_| format!("The arguments of `{}` are {form}", question.tool.name()))
}

/// Checks that there are no arguments.
fn no_arguments(question: &CallerQuestion) -> Result<(), String> {
    let members: serde_json::Map<_, _> = arguments(question, "an empty object")?;
    match members.is_empty() {
        true => Ok(()),
        false => Err(format!("`{}` has no arguments", question.tool.name())),
    }
}

/// The sentence for a caller if the accounts cannot be used.
#[expect(clippy::needless_pass_by_value, reason = "it is the argument of `map_err`")]
fn unavailable(error: AccountsError) -> String {
    tracing::error!(code = error.code(), "the accounts cannot be used: {error}");
    "The accounts cannot be used now. Try again".to_owned()
}

#[cfg(test)]
mod tests;
