//! `witgate config`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::context::Context;
use super::outcome::{CommandFailure, Exit};
use witgate_audit::{KEY_FILE, SyncMode};
use witgate_config::credentials::{ApiSettings, ChildCredentials, CredentialSettings, UpstreamCredentials};
use witgate_config::identity::IdentitySettings;
use witgate_config::limits::CallLimit;
use witgate_config::{
    ArgumentSettings, Audit, AuditKey, AuditOverflow, ClientCertificates, Config, Denials, Forwarded,
    KeyPlace, KeySource, Network, Pipeline, Policy, RecordLines, Telemetry, TlsKey, Transport,
    UpstreamTarget, raw,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print the JSON Schema of witgate.toml
    Schema,
    /// Print the effective configuration, with all defaults and without secrets
    Show,
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, CommandFailure> {
    match command {
        Command::Schema => context.terminal.print_json(raw::schema()),
        Command::Show => {
            let loaded = context.load()?;
            context.terminal.print_json(&shown(&loaded.config));
            context.terminal.diagnose(&loaded.warnings);
        }
    }
    Ok(Exit::Done)
}

fn shown(config: &Config) -> Value {
    let named = |name: &str, value: Value| (name.to_owned(), value);
    json!({
        "path": config.path,
        "auth": if config.auth_disabled { "disabled" } else { "enabled" },
        "server": server(config),
        "network": config.network.as_ref().map(network),
        "telemetry": config.telemetry.as_ref().map(telemetry),
        "upstreams": config.upstreams.iter().map(|upstream| named(&upstream.name, json!({
            "path": upstream.path,
            "resource": upstream.resource,
            "about": upstream.about.members().collect::<BTreeMap<_, _>>(),
            "target": target(&upstream.target),
            "timeout_s": upstream.timeout.as_secs(),
            "max_sessions": upstream.sessions.most,
            "max_sessions_per_caller": upstream.sessions.most_of_one,
            "max_message_mib": upstream.max_message >> 20,
            "identity": identity(&upstream.identity),
            "credential": upstream.credentials.own.as_ref().map(|own| &*own.name),
            "needs": needs(&upstream.credentials),
            "eras": upstream.eras.map(|eras| json!({ "stateful": eras.stateful, "stateless": eras.stateless })),
            "apis": apis(&upstream.credentials.of_children),
            "token_files": token_files(&upstream.credentials.of_children),
            "own_tools_beside": upstream.own_tools.iter().map(|tool| tool.name()).collect::<Vec<_>>(),
            "own_resources": upstream.own_resources.iter().map(|own| own.uri()).collect::<Vec<_>>(),
            "denials": match upstream.denials {
                Denials::Http => "http",
                Denials::JsonRpc => "json-rpc",
                Denials::Result => "result",
            },
            "pipeline": pipeline(&upstream.pipeline),
        }))).collect::<serde_json::Map<_, _>>(),
        "endpoints": config.endpoints.iter().map(|it| named(&it.name, json!({
            "path": it.path,
            "resource": it.resource,
            "upstreams": it.upstreams.iter().map(|upstream| &upstream.name).collect::<Vec<_>>(),
        }))).collect::<serde_json::Map<_, _>>(),
        "policies": config.policies.iter().map(|(name, it)| named(name, policy(it))).collect::<serde_json::Map<_, _>>(),
        "signing": config.signing.as_ref().map(|signing| json!({ "issuer": signing.signer.issuer(), "key": "****" })),
        "limits": config.limits.iter().map(|it| named(&it.name, limit(it))).collect::<serde_json::Map<_, _>>(),
        "lockout": config.lockout.map(|lockout| json!({
            "failures": lockout.failures,
            "pause_s": lockout.pause.as_secs(),
            "max_pause_s": lockout.max_pause.as_secs(),
            "forget_s": lockout.forget.as_secs(),
        })),
        "audit": config.audit.as_ref().map(audit),
        "secrets": {
            "strict_files": config.secrets.are_files_strict(),
            "core_dumps": config.secrets.are_core_dumps_permitted(),
            "store": config.secrets.store().map(|store| store.path()),
        },
        "credentials": config.credentials.iter().map(|(name, it)| named(name, credential(it))).collect::<serde_json::Map<_, _>>(),
        "keys": config.keys.iter().map(|(name, key)| named(name, source(key))).collect::<serde_json::Map<_, _>>(),
    })
}

fn audit(audit: &Audit) -> Value {
    json!({
        "directory": audit.directory,
        "key": match &audit.key {
            AuditKey::Signer(signer) => json!(signer.public().to_string()),
            AuditKey::InDirectory { .. } => json!(audit.directory.join(KEY_FILE)),
        },
        "sync": match audit.sync { SyncMode::Batched => "batched", SyncMode::BeforeAnswer => "before-answer" },
        "unavailable": match audit.unavailable { AuditOverflow::Deny => "deny", AuditOverflow::Count => "count" },
        "lines": match audit.lines { RecordLines::All => "all", RecordLines::Refusals => "refusals", RecordLines::None => "none" },
        "rotate_size_mib": audit.rules.size >> 20,
        "rotate_age_h": audit.rules.age.as_secs() / 3600,
        "keep_days": audit.rules.keep.map(|keep| keep.as_secs() / (24 * 3600)),
        "compress": audit.rules.compress,
        "checkpoint_to": audit.checkpoint_to.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "node": audit.node,
        "arguments_clear": audit.arguments_clear,
        "arguments_masked": audit.arguments_masked,
    })
}

fn server(config: &Config) -> Value {
    let server = &config.server;
    json!({
        "transport": match server.transport { Transport::Http => "http", Transport::Stdio => "stdio" },
        "listen": server.listen.to_string(),
        "tls": server.tls.as_ref().map(|tls| json!({
            "certificate": tls.certificate,
            "key": match &tls.key { TlsKey::File(path) => json!(path), TlsKey::Text(_) => json!("****") },
            "client_ca": tls.client_ca,
            "client_certificates": match tls.clients {
                ClientCertificates::Off => "off",
                ClientCertificates::Optional => "optional",
                ClientCertificates::Required => "required",
            },
        })),
        "dpop": { "nonces": server.dpop_nonces },
        "authorization_servers": server.authorization_servers,
        "advertise_auth": server.advertise_auth,
        "allowed_origins": server.allowed_origins,
        "allowed_hosts": server.allowed_hosts,
        "trusted_proxies": server.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "forwarded": server.forwarded.map(|forwarded| match forwarded {
            Forwarded::ForwardedFor => "x-forwarded-for",
            Forwarded::Forwarded => "forwarded",
            Forwarded::ProxyProtocol => "proxy-protocol",
        }),
        "deny_peers": config.denied_peers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "admin_listen": server.admin_listen.map(|address| address.to_string()),
        "max_connections": server.max_connections,
        "max_connections_per_peer": server.connections_of_one(),
        "max_request_mib": server.max_request >> 20,
        "request_memory_mib": server.request_memory >> 20,
        "answer_memory_mib": server.answer_memory >> 20,
        "control": server.control.as_ref().map(|control| &control.path),
        "shutdown_grace_s": server.shutdown_grace.as_secs(),
    })
}

fn network(network: &Network) -> Value {
    json!({
        "cas": network.cas.len(),
        "system_cas": network.system_cas,
        "http_proxy": network.http_proxy.as_ref().map(|_| "****"),
        "https_proxy": network.https_proxy.as_ref().map(|_| "****"),
        "no_proxy": network.no_proxy,
        "proxy_resolves": network.proxy_resolves,
    })
}

fn telemetry(telemetry: &Telemetry) -> Value {
    json!({
        "traces_url": telemetry.traces_url.as_str(),
        "sample": telemetry.share,
        "service_name": telemetry.service_name,
    })
}

fn target(target: &UpstreamTarget) -> Value {
    let names = |pairs: &[(String, secrecy::SecretString)]| {
        pairs.iter().map(|(name, _)| (name.clone(), "****".into())).collect::<serde_json::Map<_, _>>()
    };
    match target {
        UpstreamTarget::Command { argv, env, shared } => {
            json!({ "command": argv, "env": names(env), "shared": shared })
        }
        UpstreamTarget::Url { url, headers } => json!({ "url": url.as_str(), "headers": names(headers) }),
        UpstreamTarget::Sse { url, headers } => {
            json!({ "url": url.as_str(), "headers": names(headers), "transport": "sse" })
        }
        UpstreamTarget::OwnTools => json!({ "own_tools": true }),
        UpstreamTarget::Embedded => json!({ "embedded": true }),
        UpstreamTarget::Broken => json!({ "broken": true }),
    }
}

fn identity(identity: &IdentitySettings) -> Value {
    let headers =
        identity.headers.iter().map(|(field, name)| (field.name().to_owned(), name.as_str().into()));
    let env = identity.env.iter().map(|(field, name)| (field.name().to_owned(), name.as_str().into()));
    json!({
        "headers": headers.collect::<serde_json::Map<_, _>>(),
        "env": env.collect::<serde_json::Map<_, _>>(),
        "token": identity.token.as_ref().map(|token| json!({
            "header": token.header.as_str(),
            "audience": token.audience,
            "lifetime_s": token.lifetime.as_secs(),
            "sub": token.sub.name(),
            "claims": token.claims.iter().map(|claim| claim.name()).collect::<Vec<_>>(),
        })),
    })
}

fn credential(credential: &CredentialSettings) -> Value {
    json!({
        "kind": credential.source.kind(),
        "header": credential.header.as_str(),
        "is_missing": credential.source.missing().is_some(),
    })
}

/// The names of the credentials that tools need.
fn needs(credentials: &UpstreamCredentials) -> BTreeMap<&str, Vec<String>> {
    let names = |needed: &[Arc<CredentialSettings>]| -> Vec<String> {
        needed.iter().map(|credential| credential.name.to_string()).collect()
    };
    credentials.needs.iter().map(|(tool, needed)| (tool.as_str(), names(needed))).collect()
}

/// The APIs of child processes, by variable.
fn apis(credentials: &ChildCredentials) -> BTreeMap<&str, Value> {
    let shown = |api: &ApiSettings| json!({ "to": api.to.as_str(), "credential": &*api.credential.name });
    credentials.apis.iter().map(|(variable, api)| (variable.as_str(), shown(api))).collect()
}

/// The names of the credentials in token files, by variable.
fn token_files(credentials: &ChildCredentials) -> BTreeMap<&str, &str> {
    credentials.token_files.iter().map(|(variable, it)| (variable.as_str(), &*it.name)).collect()
}

fn pipeline(pipeline: &Pipeline) -> Value {
    json!({
        "authenticate": pipeline.authenticate,
        "authorize": pipeline.authorize,
        "anonymous": pipeline.anonymous.as_ref().map(|roles| {
            json!({ "roles": roles, "lists": pipeline.shown_to_anonymous.len() })
        }),
    })
}

fn policy(policy: &Policy) -> Value {
    json!({
        "kind": policy.kind.name(),
        "component": policy.component,
        "fallback": format!("{:?}", policy.fallback).to_lowercase(),
        "mode": format!("{:?}", policy.mode).to_lowercase(),
        "argument": policy.argument.as_ref().map(argument),
        "config": policy.config,
        "digest": policy.provenance.digest.map(|digest| witgate_base::digest::digest_text(&digest)),
        "signed_by": policy.provenance.signed_by.len(),
        "cases": policy.cases,
        "limits": { "timeout_ms": policy.limits.timeout.as_millis(), "memory_mib": policy.limits.memory() >> 20 },
        "grants": {
            "http": policy.grants.http,
            "keys": policy.grants.keys,
            "secrets": policy.grants.secrets,
            "cache": policy.grants.cache,
            "crypto": policy.grants.crypto,
        },
    })
}

fn argument(argument: &ArgumentSettings) -> Value {
    json!({
        "name": &*argument.name,
        "on": &*argument.on_texts,
        "schema": argument.schema.name(),
        "injected": argument.inject.is_some(),
    })
}

fn limit(limit: &CallLimit) -> Value {
    json!({
        "on": limit.on,
        "per": limit.per.iter().map(|per| per.name()).collect::<Vec<_>>(),
        "rate": limit.rate.map(|rate| rate.to_string()),
        "burst": limit.rate.map(|rate| rate.burst),
        "concurrent": limit.concurrent,
        "roles": limit.roles,
        "kinds": limit.kinds.as_ref().map(|kinds| kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>()),
        "upstreams": limit.upstreams,
    })
}

fn source(key: &KeySource) -> Value {
    match key {
        KeySource::Secret(_) => json!({ "secret": "****" }),
        KeySource::Pem(_) => json!({ "pem": "****" }),
        KeySource::JwksFile(path) => json!({ "jwks_file": path }),
        KeySource::Jwks(_) => json!({ "jwks": "****" }),
        KeySource::Unavailable => json!({ "unavailable": true }),
        KeySource::Remote { place: KeyPlace::Url(url), max_stale } => {
            json!({ "jwks_url": url.as_str(), "max_stale_s": max_stale.as_secs() })
        }
        KeySource::Remote { place: KeyPlace::Issuer(issuer), max_stale } => {
            json!({ "issuer": issuer, "max_stale_s": max_stale.as_secs() })
        }
    }
}
