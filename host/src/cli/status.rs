//! `witgate status`: who may call the running Witgate.

use super::context::Context;
use super::control::{show, time};
use super::outcome::{CommandFailure, Exit};
use super::terminal::table;
use super::upstream::not_approved;
use crate::control::protocol::{ControlCommand, EndpointSummary, Overview, PolicySummary, UpstreamSummary};

pub(super) fn run(context: &Context) -> Result<Exit, CommandFailure> {
    show(context, &ControlCommand::Status, listing)
}

fn listing(overview: &Overview) -> String {
    let Overview { version, generation, since, auth_enabled, api_key_configured, .. } = overview;
    let mut text = format!(
        "Witgate {version}, generation {generation} since {}\nauthentication: {}\nAPI keys: {}\n\n",
        time(*since),
        if *auth_enabled { "required" } else { "not required everywhere" },
        if *api_key_configured { "configured" } else { "not configured" },
    );
    let rows: Vec<_> = overview.upstreams.iter().map(upstream).collect();
    text.push_str(&table(&["UPSTREAM", "CREDENTIAL", "AUTHENTICATE", "AUTHORIZE"], &rows));
    if !overview.endpoints.is_empty() {
        let rows: Vec<_> = overview.endpoints.iter().map(endpoint).collect();
        text.push_str("\n\n");
        text.push_str(&table(&["ENDPOINT", "PATH", "UPSTREAMS"], &rows));
    }
    let rows: Vec<_> = overview.policies.iter().map(policy).collect();
    text.push_str("\n\n");
    text.push_str(&table(&["POLICY", "KIND", "STATE"], &rows));
    for upstream in &overview.upstreams {
        if let Some(reason) = &upstream.closed {
            text.push_str(&format!("\n\nCLOSED: `{}` denies every call: {reason}", upstream.name));
        }
    }
    for UpstreamSummary { name, pins, unapproved, .. } in &overview.upstreams {
        text.push_str(&not_approved(name, pins, *unapproved));
    }
    if !overview.whole {
        text.push_str("\n\nHELD BACK: a change is not in force; `witgate plugin list` has the reason");
    }
    text
}

fn upstream(upstream: &UpstreamSummary) -> Vec<String> {
    let names = |names: &[String]| if names.is_empty() { "-".to_owned() } else { names.join(", ") };
    vec![
        upstream.name.clone(),
        if upstream.requires_credential { "required" } else { "not required" }.to_owned(),
        names(&upstream.authenticate),
        names(&upstream.authorize),
    ]
}

fn endpoint(endpoint: &EndpointSummary) -> Vec<String> {
    vec![endpoint.name.clone(), endpoint.path.clone(), endpoint.upstreams.join(", ")]
}

fn policy(policy: &PolicySummary) -> Vec<String> {
    vec![policy.name.clone(), policy.kind.clone(), policy.state.to_string()]
}
