//! The request to Cedar for a call.

use std::collections::{HashMap, HashSet};
use std::str::FromStr as _;

use cedar_policy::{
    Context, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression as Value,
};
use witgate_plugin::{Call, Host, Principal, TargetKind, Transport};

use crate::values;

/// The type of callers.
pub(crate) const USER: &str = "User";

/// The request, and the caller as an entity.
pub(crate) fn of_call<H: Host>(
    host: &H,
    call: &Call<'_>,
    principal: &Principal<'_>,
) -> Result<(Request, Entity), String> {
    let (action, kind) = match call.kind {
        TargetKind::Tool => ("call", "Tool"),
        TargetKind::Resource => ("read", "Resource"),
        TargetKind::Prompt => ("get", "Prompt"),
        TargetKind::Method => ("method", "Method"),
    };
    let user = user(host, principal)?;
    let context = context(host, call, principal)?;
    let request = Request::new(user.uid(), uid("Action", action)?, uid(kind, call.target)?, context, None);
    Ok((request.map_err(|error| error.to_string())?, user))
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind = EntityTypeName::from_str(kind).map_err(|error| error.to_string())?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

/// The caller, within their roles.
fn user<H: Host>(host: &H, principal: &Principal<'_>) -> Result<Entity, String> {
    let roles = principal.roles.iter().map(|role| uid("Role", role)).collect::<Result<HashSet<_>, _>>()?;
    let scopes = principal.scopes.iter().cloned().map(Value::new_string);
    let claims = host.claims();
    let attributes = HashMap::from([
        ("issuer".to_owned(), text(host.issuer().unwrap_or_default())),
        ("scopes".to_owned(), Value::new_set(scopes)),
        ("claims".to_owned(), values::record(claims.as_deref())?),
    ]);
    Entity::new(uid(USER, principal.subject)?, attributes, roles).map_err(|error| error.to_string())
}

/// The context of the request: all other data of the call. For lists, the call has no arguments.
fn context<H: Host>(host: &H, call: &Call<'_>, principal: &Principal<'_>) -> Result<Context, String> {
    let now = i64::try_from(host.now()).map_err(|error| error.to_string())?;
    let arguments = host.arguments();
    let mut pairs = vec![
        ("listing", Value::new_bool(call.listing)),
        ("now", Value::new_long(now)),
        ("proven_by", text(principal.proven_by)),
        ("stdio", Value::new_bool(call.transport == Transport::Stdio)),
        ("upstream", text(host.upstream())),
    ];
    if let Some(peer) = host.peer() {
        pairs.push(("peer", Value::new_ip(peer.as_ref())));
    }
    if !call.listing {
        pairs.push(("arguments", values::record(arguments.as_deref())?));
    }
    let pairs = pairs.into_iter().map(|(name, value)| (name.to_owned(), value));
    Context::from_pairs(pairs).map_err(|error| error.to_string())
}

fn text(text: impl AsRef<str>) -> Value {
    Value::new_string(text.as_ref().to_owned())
}
