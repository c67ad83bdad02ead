//! Issuers of tokens: their metadata and keys are found, keys change, servers fail and recover.

mod discovery;
mod outage;
mod refusals;
mod revocation;
mod roles;
mod rotation;
mod sets;

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup};
use witgate_tests::issuer::{Issuer, Signer};
use witgate_tests::wire::{Answer, Request};

/// A gateway that accepts tokens by these settings of a `jwt` policy, in TOML, and lets `staff` do everything.
fn gateway(component: bool, settings: &str) -> Running {
    let setup = Setup::new();
    let component = match component {
        true => format!("component = '{}'\n", setup.component("jwt").display()),
        false => String::new(),
    };
    configure(&setup, &component, settings);
    setup.serve()
}

fn configure(setup: &Setup, component: &str, settings: &str) {
    setup.config(
        "",
        &format!(
            "[upstreams.own]\nown_tools = true\n\
             [policies.tokens]\nkind = 'jwt'\n{component}config = {{ algorithms = ['ES256'], {settings} }}\n\
             [policies.roles]\nkind = 'rbac'\n[policies.roles.config.roles]\nstaff = {{ allow = ['*'] }}\n\
             [pipeline]\nauthenticate = ['tokens']\nauthorize = ['roles']\n"
        ),
    );
}

/// A call with a token.
fn call(gateway: &Running, token: &str) -> Answer {
    let params = json!({ "name": "echo", "arguments": { "message": "hello" } });
    Request::stateless(&gateway.address(), "/mcp", "tools/call", params).bearer(token).send()
}

/// A token of this issuer for this gateway.
fn token(gateway: &Running, issuer: &Issuer, signer: &Signer) -> String {
    signer.token(&for_gateway(gateway, issuer))
}

fn for_gateway(gateway: &Running, issuer: &Issuer) -> Value {
    json!({ "iss": issuer.url(), "aud": gateway.url() })
}

/// The status of an answer, and the reason if it is a refusal.
fn outcome(answer: &Answer) -> (u16, String) {
    match answer.status {
        200 => (200, String::new()),
        status => (status, answer.refusal().2),
    }
}

fn acceptance() -> (u16, String) {
    (200, String::new())
}
