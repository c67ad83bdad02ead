//! A table of cases, as it is written. The format is described in `tests/cases/README.md`.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use witgate::policy::cases::{Ask, CallOf, Expect, Principal};
use witgate_plugin::{HttpError, HttpResponse, Scheme, Transport};

use super::host::sha256_hex;
use super::table::{Case, ConfigFault, Exchange, Key, Kind, Proven, Step, Table, Wanted};
use super::token::{Signer, Spec};
use crate::pki::Order;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    policy: Kind,
    now: u64,
    #[serde(default)]
    audience: String,
    #[serde(default)]
    configs: BTreeMap<String, Value>,
    #[serde(default)]
    keys: BTreeMap<String, Key>,
    #[serde(default)]
    signers: BTreeMap<String, Signer>,
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
    exchange: Map<String, Value>,
    /// What a signed answer claims beside `token_introspection`.
    #[serde(default)]
    answer: Map<String, Value>,
    #[serde(rename = "case")]
    cases: Vec<Map<String, Value>>,
}

/// What a case says of itself; whatever else stands in it is of its step.
const OF_CASE: [&str; 8] = ["name", "policy", "config", "change", "drop", "wants", "config_error", "steps"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: String,
    policy: Option<String>,
    config: Value,
    #[serde(default)]
    change: Map<String, Value>,
    #[serde(default)]
    drop: Vec<String>,
    wants: Option<Wanted>,
    config_error: Option<ConfigFault>,
    steps: Option<Vec<Map<String, Value>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    now: Option<u64>,
    call: Option<String>,
    #[serde(default)]
    listing: bool,
    #[serde(default)]
    stdio: bool,
    arguments: Option<Value>,
    arguments_text: Option<String>,
    credential: Option<RawCredential>,
    principal: Option<Principal>,
    #[serde(default)]
    proven: Proven,
    /// The way in which a `token` is shown.
    #[serde(default)]
    as_dpop: bool,
    #[serde(default)]
    http: Vec<Map<String, Value>>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawCredential {
    Bearer(String),
    Basic(String),
    Dpop(String),
    Header(String),
    Argument(String),
    Certificate(String),
    Issued(Box<Order>),
    Token(Box<Spec>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExchange {
    request: String,
    form: Option<BTreeMap<String, String>>,
    #[serde(default = "no_auth")]
    auth: String,
    #[serde(default = "ok")]
    status: u16,
    #[serde(default = "json_type")]
    content_type: String,
    retry_after: Option<u32>,
    /// The body: the table's claims with these over them.
    claims: Option<Map<String, Value>>,
    #[serde(default)]
    without: Vec<String>,
    /// The body: a token that holds those claims as `token_introspection` (RFC 9701).
    signed: Option<Spec>,
    /// The body: this value.
    json: Option<Value>,
    /// The body: this text.
    body: Option<String>,
    /// So many spaces before the body.
    #[serde(default)]
    padding: usize,
    error: Option<RawHttpError>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawHttpError {
    NotGranted,
    InvalidRequest,
    Unreachable,
    TimedOut,
    TooLarge,
    /// For seven seconds.
    Resting,
}

fn no_auth() -> String {
    "none".to_owned()
}

fn ok() -> u16 {
    200
}

fn json_type() -> String {
    "application/json".to_owned()
}

pub(super) fn read(text: &str) -> anyhow::Result<Table> {
    let table: RawTable = toml::from_str(text)?;
    let mut cases = Vec::new();
    for raw in &table.cases {
        let name = raw.get("name").and_then(Value::as_str).unwrap_or("without a name").to_owned();
        cases.push(table.case(raw).with_context(|| format!("case \"{name}\""))?);
    }
    Ok(Table { kind: table.policy, cases })
}

impl RawTable {
    fn case(&self, raw: &Map<String, Value>) -> anyhow::Result<Case> {
        let (own, step): (Map<_, _>, Map<_, _>) =
            raw.clone().into_iter().partition(|(name, _)| OF_CASE.contains(&name.as_str()));
        let own: RawCase = shaped(own)?;
        let steps = match &own.steps {
            _ if own.config_error.is_some() => Vec::new(),
            None => vec![self.step(step)?],
            Some(steps) => steps
                .iter()
                .map(|over| self.step(merged(step.clone(), over)))
                .collect::<anyhow::Result<_>>()?,
        };
        Ok(Case {
            policy: own.policy.clone().unwrap_or_else(|| "own".to_owned()),
            config: self.config(&own)?,
            name: own.name,
            kind: self.policy,
            keys: self.keys.clone(),
            audience: self.audience.clone(),
            wants: own.wants,
            config_error: own.config_error,
            steps,
        })
    }

    fn config(&self, case: &RawCase) -> anyhow::Result<Value> {
        let mut config = match &case.config {
            Value::String(name) => {
                self.configs.get(name).with_context(|| format!("no config {name}"))?.clone()
            }
            other => other.clone(),
        };
        if let Value::Object(members) = &mut config {
            *members = merged(std::mem::take(members), &case.change);
            members.retain(|name, _| !case.drop.contains(name));
        }
        Ok(digested(config))
    }

    fn step(&self, step: Map<String, Value>) -> anyhow::Result<Step> {
        let step: RawStep = shaped(step)?;
        let ask = match (&step.credential, &step.principal) {
            (Some(credential), None) => self.credential(credential, step.as_dpop)?,
            (None, Some(principal)) => Ask::May(principal.clone()),
            _ => bail!("either `credential` or `principal` is needed"),
        };
        let http = step.http.iter().map(|raw| self.exchange(raw, &ask)).collect::<anyhow::Result<_>>()?;
        Ok(Step {
            now: step.now.unwrap_or(self.now),
            call: call(&step),
            proven: step.proven,
            ask,
            http,
            expect: step.expect,
        })
    }

    fn credential(&self, credential: &RawCredential, as_dpop: bool) -> anyhow::Result<Ask> {
        let (scheme, value) = match credential {
            RawCredential::Bearer(value) => (Scheme::Bearer, value.clone()),
            RawCredential::Basic(value) => (Scheme::Basic, value.clone()),
            RawCredential::Dpop(value) => (Scheme::Dpop, value.clone()),
            RawCredential::Header(value) => (Scheme::Header, digest_in(value)),
            RawCredential::Argument(value) => (Scheme::Argument, value.clone()),
            RawCredential::Certificate(value) => (Scheme::Certificate, value.clone()),
            RawCredential::Issued(order) => (Scheme::Certificate, order.issue().pem),
            RawCredential::Token(spec) => {
                let scheme = if as_dpop { Scheme::Dpop } else { Scheme::Bearer };
                (scheme, spec.make(&self.signers, &self.claims)?)
            }
        };
        Ok(Ask::Who { scheme, value })
    }

    fn exchange(&self, raw: &Map<String, Value>, ask: &Ask) -> anyhow::Result<Exchange> {
        let raw: RawExchange = shaped(merged(self.exchange.clone(), raw))?;
        let posted = raw.request.starts_with("POST ");
        let form = raw.form.clone().or_else(|| match ask {
            Ask::Who { value, .. } if posted => Some(question(value)),
            _ => None,
        });
        Ok(Exchange { form, auth: raw.auth.clone(), answer: self.answer(&raw)?, request: raw.request })
    }

    fn answer(&self, raw: &RawExchange) -> anyhow::Result<Result<HttpResponse, HttpError>> {
        if let Some(error) = raw.error {
            return Ok(Err(match error {
                RawHttpError::NotGranted => HttpError::NotGranted,
                RawHttpError::InvalidRequest => HttpError::InvalidRequest,
                RawHttpError::Unreachable => HttpError::Unreachable,
                RawHttpError::TimedOut => HttpError::TimedOut,
                RawHttpError::TooLarge => HttpError::TooLarge,
                RawHttpError::Resting => HttpError::Resting(7),
            }));
        }
        let plain = match (&raw.claims, &raw.json, &raw.body) {
            (Some(claims), _, _) => {
                let mut all = merged(self.claims.clone(), claims);
                all.retain(|name, _| !raw.without.contains(name));
                Value::Object(all).to_string()
            }
            (None, Some(json), _) => json.to_string(),
            (None, None, body) => body.clone().unwrap_or_default(),
        };
        let body = match &raw.signed {
            None => plain,
            Some(spec) => {
                let mut claims = self.answer.clone();
                claims.insert("token_introspection".to_owned(), serde_json::from_str(&plain)?);
                spec.make(&self.signers, &claims)?
            }
        };
        Ok(Ok(HttpResponse {
            status: raw.status,
            content_type: Some(raw.content_type.clone()).filter(|typ| !typ.is_empty()),
            retry_after: raw.retry_after,
            body: format!("{}{body}", " ".repeat(raw.padding)).into_bytes(),
        }))
    }
}

/// The form of RFC 7662, section 2.1.
fn question(token: &str) -> BTreeMap<String, String> {
    [("token", token), ("token_type_hint", "access_token")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn call(step: &RawStep) -> CallOf {
    let arguments = step.arguments_text.clone().or_else(|| step.arguments.as_ref().map(Value::to_string));
    CallOf {
        transport: if step.stdio { Transport::Stdio } else { Transport::Http },
        listing: step.listing,
        arguments: arguments.filter(|_| !step.listing),
        ..CallOf::named(step.call.as_deref().unwrap_or("echo"))
    }
}

fn shaped<T: DeserializeOwned>(members: Map<String, Value>) -> anyhow::Result<T> {
    Ok(serde_json::from_value(json!(members))?)
}

/// Objects are merged member by member, everything else is replaced.
fn merged(mut base: Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    for (name, value) in over {
        let value = match (base.remove(name), value) {
            (Some(Value::Object(base)), Value::Object(over)) if name != "expect" => {
                Value::Object(merged(base, over))
            }
            (_, value) => value.clone(),
        };
        base.insert(name.clone(), value);
    }
    base
}

/// Puts the digest in the place of every `sha256(TEXT)`.
fn digested(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(digest_in(&text)),
        Value::Array(items) => items.into_iter().map(digested).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, digested(value))).collect(),
        other => other,
    }
}

fn digest_in(text: &str) -> String {
    let mut pieces = text.split("sha256(");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once(')') {
            Some((of, rest)) => out.extend([sha256_hex(of.as_bytes()).as_str(), rest]),
            None => out.extend(["sha256(", piece]),
        }
    }
    out
}
