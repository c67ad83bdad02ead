//! `witgate token verify`.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;
use witgate_plugin::{Scheme, Transport};

use super::argument::token;
use crate::cli::context::Context;
use crate::cli::key::written;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::runtime::runtime;
use witgate_base::clock::Clock;
use witgate_cases::factory::Factory;
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::load::Loader;
use witgate_config::Config;
use witgate_config::environment::Environment;
use witgate_flow::authenticate::authenticate;
use witgate_flow::authenticate::identity::Caller;
use witgate_flow::decision::DecisionId;
use witgate_flow::dpop::Proofs;
use witgate_flow::reject::Rejection;
use witgate_flow::request::{Request, Route};
use witgate_message::call::Call;
use witgate_message::credential::Credentials;
use witgate_message::era::Era;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Token; absent or `-`: read from standard input, which keeps it out of the shell's history
    token: Option<String>,
    /// Upstream whose pipeline checks the token, if there are several
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let token = token(arguments.token.as_deref())?;
    let config = context.load()?.config;
    let mut shown = Credentials::default();
    shown.add(Scheme::Bearer, None, token);
    let judging = judge(&context.environment, &config, arguments.upstream.as_deref(), shown);
    let verdict = runtime()?.block_on(judging)?;
    Ok(match verdict {
        Ok(caller) => accepted(context, &caller),
        Err(rejection) => refused(context, &rejection),
    })
}

/// Asks the same policies that `serve` uses about credentials.
pub(in crate::cli) async fn judge(
    environment: &Environment,
    config: &Config,
    upstream: Option<&str>,
    shown: Credentials,
) -> Result<Result<Arc<Caller>, Rejection>, CommandFailure> {
    let engine = Engine::new().map_err(|error| CommandFailure::new(error.to_string()))?;
    let factory =
        Factory::new(Loader::new(engine, Compiler::own(), None), environment.clone(), Clock::System);
    let generation = factory.candidate(config, None).await.map_err(|errors| {
        CommandFailure::new(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })?;
    let route = route(config, upstream)?;
    let call = any_call()?;
    let transport = Transport::Http;
    let request = Request {
        call,
        decision: DecisionId::default(),
        era: Era::Stateful,
        headers: HeaderMap::new(),
        peer: None,
        transport,
        route: Arc::new(route),
        certificate: None,
        round: None,
        hooks: Default::default(),
        definitions: Default::default(),
    };
    let generation = Arc::new(generation);
    Ok(match Proofs::default().prove(&generation, &Arc::new(request), &shown) {
        Ok(proven) => authenticate(&generation, &proven, &shown).await.result,
        Err(error) => Err(error.into()),
    })
}

/// A call, because authenticators are asked about one. Policies that judge tokens do not depend on which one.
fn any_call() -> Result<Call, CommandFailure> {
    let ping = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    Call::parse(ping).map_err(|unparsed| CommandFailure::new(format!("{:?}", unparsed.malformed)))
}

fn route(config: &Config, upstream: Option<&str>) -> Result<Route, CommandFailure> {
    let names =
        || config.upstreams.iter().map(|upstream| upstream.name.as_str()).collect::<Vec<_>>().join(", ");
    let place = match upstream {
        None if config.upstreams.len() > 1 => {
            return Err(CommandFailure::new(format!(
                "there are several upstreams; name one with `--upstream NAME`: {}",
                names()
            )));
        }
        None => Some(0),
        Some(name) => config.upstreams.iter().position(|upstream| upstream.name == name),
    };
    let found = place.and_then(|place| Some((place, config.upstreams.get(place)?)));
    let (pipeline, upstream) = found
        .ok_or_else(|| CommandFailure::new(format!("there is no such upstream; there are: {}", names())))?;
    Ok(Route {
        upstream: upstream.name.as_str().into(),
        resource: upstream.resource.as_str().into(),
        pipeline,
        extensions: Vec::new(),
        advertise_auth: false,
        disagreements: None,
    })
}

fn accepted(context: &Context, caller: &Caller) -> Exit {
    let identity = caller.identity();
    let end = identity.expires_at.map(|end| written(witgate_api_key::store::Time(end)));
    if context.terminal.is_json() {
        context.terminal.print_json(&json!({
            "good": true,
            "policy": &**caller.proven_by(),
            "subject": identity.subject,
            "issuer": identity.issuer,
            "roles": identity.roles,
            "scopes": identity.scopes,
            "expires": end,
        }));
        return Exit::Done;
    }
    let list = |texts: &[String]| if texts.is_empty() { "none".to_owned() } else { texts.join(", ") };
    context.terminal.print(&format!(
        "valid: the policy `{}` knows `{}` (roles: {}; scopes: {}; until {})",
        caller.proven_by(),
        identity.subject,
        list(&identity.roles),
        list(&identity.scopes),
        end.as_deref().unwrap_or("revoked"),
    ));
    Exit::Done
}

fn refused(context: &Context, rejection: &Rejection) -> Exit {
    let (policy, reason, detail) = match rejection {
        Rejection::Refused { policy, reason, detail } => {
            (policy.as_deref(), reason.as_str(), detail.as_deref())
        }
        Rejection::NoCredential => (None, "no-credential", Some("the token is empty")),
        _ => (None, "unavailable", Some("a policy could not decide; `witgate check` may say why")),
    };
    if context.terminal.is_json() {
        context
            .terminal
            .print_json(&json!({ "good": false, "policy": policy, "reason": reason, "detail": detail }));
        return Exit::No;
    }
    let who = policy.map_or_else(
        || "no policy recognises it".to_owned(),
        |policy| format!("the policy `{policy}` refuses it"),
    );
    let why = detail.map_or_else(String::new, |detail| format!(": {detail}"));
    context.terminal.print(&format!("not valid: {who} ({reason}){why}"));
    Exit::No
}
