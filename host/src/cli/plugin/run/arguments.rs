//! The options that describe a question.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};
use witgate_plugin::Scheme;

use crate::cli::outcome::CommandFailure;
use crate::cli::plugin::plugin_argument::PluginArgument;
use witgate_base::clock;
use witgate_cases::{HookQuestion, Principal, Question, scheme_name};
use witgate_config::environment::Environment;
use witgate_policy::SCHEMES;

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    pub(super) of: PluginArgument,

    /// Target of the call as in patterns: `get_sum`, `resource:file:///a`, `method:tasks/list` [default: that
    /// of the case, or `echo`]
    #[arg(long, value_name = "NAME")]
    call: Option<String>,

    /// Arguments of the call
    #[arg(long, value_name = "JSON", value_parser = json)]
    arguments: Option<String>,

    /// `_meta` of the call
    #[arg(long, value_name = "JSON", value_parser = object)]
    meta: Option<String>,

    /// Header of the request; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// Address of the caller
    #[arg(long, value_name = "ADDRESS")]
    peer: Option<IpAddr>,

    /// Name of the upstream
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,

    /// Resource identifier of the upstream, which is the audience of tokens
    #[arg(long, value_name = "URI")]
    audience: Option<String>,

    /// Ask about a list entry instead of a call
    #[arg(long)]
    listing: bool,

    /// Time that the plugin's clock shows [default: that of the case, or now]
    #[arg(long, value_name = "SECONDS|RFC3339", value_parser = time)]
    pub(super) now: Option<u64>,

    /// Authorize this caller: `{"subject": "ada", "roles": ["user"]}`; absent members have the defaults of cases
    #[arg(long, value_name = "JSON", value_parser = principal)]
    pub(super) principal: Option<Principal>,

    /// Authenticate with the credential in this environment variable
    #[arg(long, value_name = "NAME", conflicts_with_all = ["principal", "credential_file"])]
    credential_env: Option<String>,

    /// Authenticate with the credential in this file
    #[arg(long, value_name = "FILE", conflicts_with = "principal")]
    credential_file: Option<PathBuf>,

    /// Scheme of the credential [default: the first of these that the plugin accepts]
    #[arg(long, value_parser = schemes())]
    pub(super) scheme: Option<Scheme>,
}

impl Arguments {
    /// The credential. It is never an argument, because others can read the command line.
    pub(super) fn credential(&self, environment: &Environment) -> Result<Option<String>, CommandFailure> {
        let value = match (&self.credential_env, &self.credential_file) {
            (Some(name), _) => environment.get(name).map(str::to_owned).ok_or_else(|| {
                CommandFailure::new(format!(
                    "there is no environment variable `{name}`; put the credential into it"
                ))
            })?,
            (None, Some(file)) => std::fs::read_to_string(file)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| {
                    CommandFailure::new(format!("{} cannot be read: {error}", file.display()))
                })?,
            (None, None) => return Ok(None),
        };
        match value.is_empty() {
            true => Err(CommandFailure::new("the credential is empty; put it where it was named")),
            false => Ok(Some(value)),
        }
    }

    /// Replaces the members that the arguments name, and leaves the rest of a question as it is.
    pub(super) fn put_over(&self, question: &mut Question) {
        if let Some(call) = &self.call {
            question.call = question.call.clone().on(call);
        }
        let call = &mut question.call;
        call.listing |= self.listing;
        call.arguments = self.arguments.clone().or_else(|| call.arguments.take());
        call.meta = self.meta.clone().or_else(|| call.meta.take());
        for (name, value) in &self.headers {
            question.headers.append(name, value.clone());
        }
        question.peer = self.peer.or(question.peer);
        question.now = self.now.unwrap_or(question.now);
        if let Some(upstream) = &self.upstream {
            question.upstream.clone_from(upstream);
        }
        if let Some(audience) = &self.audience {
            question.audience.clone_from(audience);
        }
        if let (HookQuestion::Who { scheme, .. }, Some(other)) = (&mut question.ask, self.scheme) {
            *scheme = other;
        }
    }
}

/// The present time, in seconds since the Unix epoch.
pub(super) fn present() -> u64 {
    clock::since_epoch().as_secs()
}

fn json(text: &str) -> Result<String, String> {
    let read: Result<Value, _> = serde_json::from_str(text);
    read.map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn object(text: &str) -> Result<String, String> {
    let read: Result<Map<String, Value>, _> = serde_json::from_str(text);
    read.map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn principal(text: &str) -> Result<Principal, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
    HeaderValue::try_from(value).map(|value| (name, value)).map_err(|error| error.to_string())
}

fn time(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let at = humantime::parse_rfc3339_weak(text)
        .map_err(|_| "write seconds, or a time such as 2033-05-18T03:33:20Z")?;
    at.duration_since(UNIX_EPOCH).map(|since| since.as_secs()).map_err(|error| error.to_string())
}

fn schemes() -> impl clap::builder::TypedValueParser<Value = Scheme> {
    PossibleValuesParser::new(SCHEMES.map(scheme_name)).try_map(|name| {
        SCHEMES.into_iter().find(|scheme| scheme_name(*scheme) == name).ok_or("there is no such scheme")
    })
}
