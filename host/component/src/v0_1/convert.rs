//! Conversions between the generated types and the SDK's.

use witgate_plugin as sdk;

use super::bindings::exports::witgate::auth::plugin;
use super::bindings::witgate::auth::{crypto, http, log, request, types};

pub(super) fn call<'a>(call: &sdk::Call<'a>) -> types::Call<'a> {
    types::Call {
        method: call.method,
        kind: match call.kind {
            sdk::TargetKind::Tool => types::TargetKind::Tool,
            sdk::TargetKind::Resource => types::TargetKind::Resource,
            sdk::TargetKind::Prompt => types::TargetKind::Prompt,
            sdk::TargetKind::Method => types::TargetKind::Method,
        },
        target: call.target,
        transport: match call.transport {
            sdk::Transport::Http => types::Transport::Http,
            sdk::Transport::Stdio => types::Transport::Stdio,
        },
        listing: call.listing,
    }
}

pub(super) fn credential<'a>(credential: &sdk::Credential<'a>) -> types::Credential<'a> {
    types::Credential {
        scheme: match credential.scheme {
            sdk::Scheme::Bearer => types::Scheme::Bearer,
            sdk::Scheme::Basic => types::Scheme::Basic,
            sdk::Scheme::Dpop => types::Scheme::Dpop,
            sdk::Scheme::Header => types::Scheme::Header,
            sdk::Scheme::Argument => types::Scheme::Argument,
            sdk::Scheme::Certificate => types::Scheme::Certificate,
        },
        value: credential.value,
    }
}

pub(super) fn annotations(annotations: sdk::ToolAnnotations) -> request::ToolAnnotations {
    let sdk::ToolAnnotations { read_only, destructive, idempotent, open_world } = annotations;
    request::ToolAnnotations { read_only, destructive, idempotent, open_world }
}

pub(super) fn verdict(verdict: types::Verdict) -> sdk::Verdict {
    match verdict {
        types::Verdict::Identity(types::Identity { subject, issuer, roles, scopes, claims, expires_at }) => {
            sdk::Verdict::Identity(sdk::Identity { subject, issuer, roles, scopes, claims, expires_at })
        }
        types::Verdict::NotMine => sdk::Verdict::NotMine,
        types::Verdict::Refused(types::Refusal { reason, detail }) => {
            sdk::Verdict::Refused(sdk::Refusal { reason, detail })
        }
        types::Verdict::Unavailable(u) => sdk::Verdict::Unavailable(unavailability(u)),
    }
}

pub(super) fn decision(decision: types::Decision) -> sdk::Decision {
    match decision {
        types::Decision::Allow => sdk::Decision::Allow,
        types::Decision::Abstain => sdk::Decision::Abstain,
        types::Decision::Deny(types::Denial { reason, scopes, retry_after, detail }) => {
            sdk::Decision::Deny(sdk::Denial { reason, scopes, retry_after, detail })
        }
        types::Decision::Unavailable(u) => sdk::Decision::Unavailable(unavailability(u)),
    }
}

pub(super) fn entry_decisions(decisions: Vec<types::EntryDecision>) -> Vec<sdk::EntryDecision> {
    let entry_decision = |decision| match decision {
        types::EntryDecision::Allow => sdk::EntryDecision::Allow,
        types::EntryDecision::Abstain => sdk::EntryDecision::Abstain,
        types::EntryDecision::Deny => sdk::EntryDecision::Deny,
    };
    decisions.into_iter().map(entry_decision).collect()
}

pub(super) fn unavailability(u: types::Unavailability) -> sdk::Unavailability {
    sdk::Unavailability { detail: u.detail, retry_after: u.retry_after }
}

pub(super) fn description(description: plugin::Description) -> sdk::Description {
    let plugin::Description { name, version, summary, config_schema } = description;
    sdk::Description { name, version, summary, config_schema }
}

pub(super) fn wants(wants: plugin::Wants) -> sdk::Wants {
    let has = |data| wants.data.contains(data);
    sdk::Wants {
        data: sdk::Data {
            arguments: has(plugin::Data::ARGUMENTS),
            meta: has(plugin::Data::META),
            peer: has(plugin::Data::PEER),
            claims: has(plugin::Data::CLAIMS),
        },
        schemes: wants.schemes.into_iter().map(scheme).collect(),
        credential_header: wants.credential_header,
        headers: wants.headers,
    }
}

fn scheme(scheme: types::Scheme) -> sdk::Scheme {
    match scheme {
        types::Scheme::Bearer => sdk::Scheme::Bearer,
        types::Scheme::Basic => sdk::Scheme::Basic,
        types::Scheme::Dpop => sdk::Scheme::Dpop,
        types::Scheme::Header => sdk::Scheme::Header,
        types::Scheme::Argument => sdk::Scheme::Argument,
        types::Scheme::Certificate => sdk::Scheme::Certificate,
    }
}

pub(super) fn config_error(error: plugin::ConfigError) -> sdk::ConfigError {
    sdk::ConfigError { pointer: error.pointer, message: error.message }
}

pub(super) fn level(level: log::Level) -> sdk::Level {
    match level {
        log::Level::Debug => sdk::Level::Debug,
        log::Level::Info => sdk::Level::Info,
        log::Level::Warn => sdk::Level::Warn,
        log::Level::Error => sdk::Level::Error,
    }
}

pub(super) fn digest(digest: &sdk::Digest) -> crypto::Digest {
    let mut words = digest
        .chunks_exact(8)
        .map(|bytes| u64::from_be_bytes(bytes.first_chunk().copied().unwrap_or_default()));
    let mut next = || words.next().unwrap_or_default();
    crypto::Digest { a: next(), b: next(), c: next(), d: next() }
}

pub(super) fn algorithm(algorithm: crypto::Algorithm) -> sdk::Algorithm {
    match algorithm {
        crypto::Algorithm::Hs256 => sdk::Algorithm::Hs256,
        crypto::Algorithm::Hs384 => sdk::Algorithm::Hs384,
        crypto::Algorithm::Hs512 => sdk::Algorithm::Hs512,
        crypto::Algorithm::Rs256 => sdk::Algorithm::Rs256,
        crypto::Algorithm::Rs384 => sdk::Algorithm::Rs384,
        crypto::Algorithm::Rs512 => sdk::Algorithm::Rs512,
        crypto::Algorithm::Ps256 => sdk::Algorithm::Ps256,
        crypto::Algorithm::Ps384 => sdk::Algorithm::Ps384,
        crypto::Algorithm::Ps512 => sdk::Algorithm::Ps512,
        crypto::Algorithm::Es256 => sdk::Algorithm::Es256,
        crypto::Algorithm::Es384 => sdk::Algorithm::Es384,
        crypto::Algorithm::EdDsa => sdk::Algorithm::EdDsa,
    }
}

pub(super) fn verify_error(error: sdk::VerifyError) -> crypto::VerifyError {
    match error {
        sdk::VerifyError::UnknownKey => crypto::VerifyError::UnknownKey,
        sdk::VerifyError::UnknownKeyId => crypto::VerifyError::UnknownKeyId,
        sdk::VerifyError::AlgorithmMismatch => crypto::VerifyError::AlgorithmMismatch,
        sdk::VerifyError::BadSignature => crypto::VerifyError::BadSignature,
        sdk::VerifyError::Unavailable => crypto::VerifyError::Unavailable,
    }
}

pub(super) fn password_error(error: sdk::PasswordError) -> crypto::PasswordError {
    match error {
        sdk::PasswordError::UnusableHash => crypto::PasswordError::UnusableHash,
        sdk::PasswordError::Busy(seconds) => crypto::PasswordError::Busy(seconds),
    }
}

pub(super) fn outgoing(request: http::Outgoing) -> sdk::HttpRequest {
    let client = |c: http::Client| sdk::Client { id: c.id, secret: c.secret };
    sdk::HttpRequest {
        method: match request.method {
            http::Method::Get => sdk::Method::Get,
            http::Method::Post => sdk::Method::Post,
        },
        url: request.url,
        headers: request.headers,
        body: request.body,
        client_auth: match request.client_auth {
            http::ClientAuth::None => sdk::ClientAuth::None,
            http::ClientAuth::Basic(c) => sdk::ClientAuth::Basic(client(c)),
            http::ClientAuth::Post(c) => sdk::ClientAuth::Post(client(c)),
            http::ClientAuth::PrivateKeyJwt(a) => {
                let http::Assertion { id, key, key_id, algorithm, audience } = a;
                sdk::ClientAuth::PrivateKeyJwt(sdk::Assertion { id, key, key_id, algorithm, audience })
            }
        },
        share: request.share,
    }
}

pub(super) fn incoming(response: sdk::HttpResponse) -> http::Incoming {
    let sdk::HttpResponse { status, content_type, retry_after, body } = response;
    http::Incoming { status, content_type, retry_after, body }
}

pub(super) fn http_error(error: sdk::HttpError) -> http::HttpError {
    match error {
        sdk::HttpError::NotGranted => http::HttpError::NotGranted,
        sdk::HttpError::InvalidRequest => http::HttpError::InvalidRequest,
        sdk::HttpError::Unreachable => http::HttpError::Unreachable,
        sdk::HttpError::TimedOut => http::HttpError::TimedOut,
        sdk::HttpError::TooLarge => http::HttpError::TooLarge,
        sdk::HttpError::Resting(seconds) => http::HttpError::Resting(seconds),
    }
}
