//! `witgate credential import`: tokens that a provider has issued elsewhere.

use std::time::Duration;

use secrecy::SecretString;

use super::grants::{grant, store};
use super::owner::OwnerArguments;
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_config::Config;
use witgate_credentials::grant_store::StoredGrant;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Name under `[credentials]`
    name: String,
    #[command(flatten)]
    owner: OwnerArguments,
    /// Environment variable with the access token
    #[arg(long, value_name = "VAR")]
    access_token_env: String,
    /// Environment variable with the refresh token
    #[arg(long, value_name = "VAR")]
    refresh_token_env: Option<String>,
    /// Seconds until the access token ends [default: it counts as ended, if there is a refresh token]
    #[arg(long, value_name = "SECONDS")]
    expires_in: Option<u32>,
}

pub(super) fn run(context: &Context, config: &Config, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let (credential, settings) = grant(config, &arguments.name)?;
    let key = arguments.owner.new_key(config, credential)?;
    let variable = |name: &String| {
        let value = context.environment.get(name).map(SecretString::from);
        value.ok_or_else(|| {
            CommandFailure::new(format!("the environment variable `{name}` is not set or is empty"))
        })
    };
    let access = variable(&arguments.access_token_env)?;
    let refresh = arguments.refresh_token_env.as_ref().map(variable).transpose()?;
    let lifetime = arguments.expires_in.map(|seconds| Duration::from_secs(seconds.into()));
    let imported = StoredGrant::imported(access, refresh, lifetime, &settings.token);
    store(settings, &key, &imported)?;
    context.terminal.print(&format!("the tokens of {key} are stored"));
    Ok(Exit::Done)
}
