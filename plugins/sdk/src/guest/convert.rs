//! Between the generated types and this crate's.

use super::imports::witgate::auth::types as wit;
use crate as sdk;

pub(super) fn call(call: &wit::Call) -> sdk::Call<'_> {
    sdk::Call {
        method: &call.method,
        kind: match call.kind {
            wit::TargetKind::Tool => sdk::TargetKind::Tool,
            wit::TargetKind::Resource => sdk::TargetKind::Resource,
            wit::TargetKind::Prompt => sdk::TargetKind::Prompt,
            wit::TargetKind::Method => sdk::TargetKind::Method,
        },
        target: &call.target,
        transport: match call.transport {
            wit::Transport::Http => sdk::Transport::Http,
            wit::Transport::Stdio => sdk::Transport::Stdio,
        },
        listing: call.listing,
    }
}

pub(super) fn credential(credential: &wit::Credential) -> sdk::Credential<'_> {
    sdk::Credential {
        scheme: match credential.scheme {
            wit::Scheme::Bearer => sdk::Scheme::Bearer,
            wit::Scheme::Basic => sdk::Scheme::Basic,
            wit::Scheme::Dpop => sdk::Scheme::Dpop,
            wit::Scheme::Header => sdk::Scheme::Header,
            wit::Scheme::Argument => sdk::Scheme::Argument,
            wit::Scheme::Certificate => sdk::Scheme::Certificate,
        },
        value: &credential.value,
    }
}

pub(super) fn scheme_out(scheme: sdk::Scheme) -> wit::Scheme {
    match scheme {
        sdk::Scheme::Bearer => wit::Scheme::Bearer,
        sdk::Scheme::Basic => wit::Scheme::Basic,
        sdk::Scheme::Dpop => wit::Scheme::Dpop,
        sdk::Scheme::Header => wit::Scheme::Header,
        sdk::Scheme::Argument => wit::Scheme::Argument,
        sdk::Scheme::Certificate => wit::Scheme::Certificate,
    }
}

pub(super) fn principal(principal: &wit::Principal) -> sdk::Principal<'_> {
    sdk::Principal {
        subject: &principal.subject,
        proven_by: &principal.proven_by,
        roles: &principal.roles,
        scopes: &principal.scopes,
    }
}

pub(super) fn verdict(verdict: sdk::Verdict) -> wit::Verdict {
    match verdict {
        sdk::Verdict::Identity(sdk::Identity { subject, issuer, roles, scopes, claims, expires_at }) => {
            wit::Verdict::Identity(wit::Identity { subject, issuer, roles, scopes, claims, expires_at })
        }
        sdk::Verdict::NotMine => wit::Verdict::NotMine,
        sdk::Verdict::Refused(sdk::Refusal { reason, detail }) => {
            wit::Verdict::Refused(wit::Refusal { reason, detail })
        }
        sdk::Verdict::Unavailable(u) => wit::Verdict::Unavailable(unavailability(u)),
    }
}

pub(super) fn decision(decision: sdk::Decision) -> wit::Decision {
    match decision {
        sdk::Decision::Allow => wit::Decision::Allow,
        sdk::Decision::Abstain => wit::Decision::Abstain,
        sdk::Decision::Deny(sdk::Denial { reason, scopes, retry_after, detail }) => {
            wit::Decision::Deny(wit::Denial { reason, scopes, retry_after, detail })
        }
        sdk::Decision::Unavailable(u) => wit::Decision::Unavailable(unavailability(u)),
    }
}

pub(super) fn entry_decision(decision: sdk::EntryDecision) -> wit::EntryDecision {
    match decision {
        sdk::EntryDecision::Allow => wit::EntryDecision::Allow,
        sdk::EntryDecision::Abstain => wit::EntryDecision::Abstain,
        sdk::EntryDecision::Deny => wit::EntryDecision::Deny,
    }
}

pub(super) fn unavailability(u: sdk::Unavailability) -> wit::Unavailability {
    wit::Unavailability { detail: u.detail, retry_after: u.retry_after }
}
