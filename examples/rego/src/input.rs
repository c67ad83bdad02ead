//! The `input` of policies, made from a call.

use serde::Serialize;
use serde_json::value::RawValue;
use witgate_plugin::{Call, Host, Principal, TargetKind, Transport};

#[derive(Serialize)]
pub(crate) struct Input<'a> {
    method: &'a str,
    /// `tool`, `resource`, `prompt` or `method`.
    kind: &'static str,
    /// The tool's name, the resource's URI, and so on.
    target: &'a str,
    /// True if a list is being filtered. There are no arguments then.
    listing: bool,
    stdio: bool,
    /// Absent if the call has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<Box<RawValue>>,
    upstream: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a str>,
    /// Seconds since the Unix epoch.
    now: u64,
    principal: Caller<'a>,
}

#[derive(Serialize)]
struct Caller<'a> {
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    proven_by: &'a str,
    roles: &'a [String],
    scopes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<Box<RawValue>>,
}

impl Input<'_> {
    /// The JSON text.
    pub(crate) fn of<H: Host>(
        host: &H,
        call: &Call<'_>,
        principal: &Principal<'_>,
    ) -> Result<String, String> {
        let raw = |text: Option<std::borrow::Cow<'_, str>>| {
            text.map(|text| RawValue::from_string(text.into_owned()))
                .transpose()
                .map_err(|error| error.to_string())
        };
        let (upstream, peer, issuer) = (host.upstream(), host.peer(), host.issuer());
        let input = Input {
            method: call.method,
            kind: match call.kind {
                TargetKind::Tool => "tool",
                TargetKind::Resource => "resource",
                TargetKind::Prompt => "prompt",
                TargetKind::Method => "method",
            },
            target: call.target,
            listing: call.listing,
            stdio: call.transport == Transport::Stdio,
            arguments: raw(host.arguments())?,
            upstream: &upstream,
            peer: peer.as_deref(),
            now: host.now(),
            principal: Caller {
                subject: principal.subject,
                issuer: issuer.as_deref(),
                proven_by: principal.proven_by,
                roles: principal.roles,
                scopes: principal.scopes,
                claims: raw(host.claims())?,
            },
        };
        serde_json::to_string(&input).map_err(|error| error.to_string())
    }
}
