//! The inner authorizer, whose exports this component imports.

mod bindings;

use bindings::witgate::auth::types as wit;
use bindings::witgate::auth::{authorization, plugin};
use witgate_plugin::{
    Call, ConfigError, Data, Decision, Denial, Principal, Scheme, TargetKind, Transport, Unavailability,
    Wants,
};

/// The JSON Schema of the inner authorizer's settings.
pub(crate) fn config_schema() -> String {
    plugin::describe().config_schema
}

/// Configures the inner authorizer, and returns the data that it needs.
pub(crate) fn configure(policy: &str, config: &str) -> Result<Wants, ConfigError> {
    let error = |e: plugin::ConfigError| ConfigError::at(format!("/inner{}", e.pointer), e.message);
    let wants = plugin::configure(policy, config).map_err(error)?;
    let has = |flag| wants.data.contains(flag);
    let data = Data {
        arguments: has(plugin::Data::ARGUMENTS),
        meta: has(plugin::Data::META),
        peer: has(plugin::Data::PEER),
        claims: has(plugin::Data::CLAIMS),
    };
    Ok(Wants {
        data,
        schemes: wants.schemes.into_iter().map(scheme).collect(),
        credential_header: wants.credential_header,
        headers: wants.headers,
    })
}

/// The decision of the inner authorizer.
pub(crate) fn authorize(call: &Call<'_>, principal: &Principal<'_>) -> Decision {
    let principal = wit::Principal {
        subject: principal.subject.to_owned(),
        proven_by: principal.proven_by.to_owned(),
        roles: principal.roles.to_vec(),
        scopes: principal.scopes.to_vec(),
    };
    match authorization::authorize(&asked(call), &principal) {
        wit::Decision::Allow => Decision::Allow,
        wit::Decision::Abstain => Decision::Abstain,
        wit::Decision::Deny(wit::Denial { reason, scopes, retry_after, detail }) => {
            Decision::Deny(Denial { reason, scopes, retry_after, detail })
        }
        wit::Decision::Unavailable(u) => Decision::Unavailable(Unavailability::new(u.detail, u.retry_after)),
    }
}

fn asked(call: &Call<'_>) -> wit::Call {
    wit::Call {
        method: call.method.to_owned(),
        kind: match call.kind {
            TargetKind::Tool => wit::TargetKind::Tool,
            TargetKind::Resource => wit::TargetKind::Resource,
            TargetKind::Prompt => wit::TargetKind::Prompt,
            TargetKind::Method => wit::TargetKind::Method,
        },
        target: call.target.to_owned(),
        transport: match call.transport {
            Transport::Http => wit::Transport::Http,
            Transport::Stdio => wit::Transport::Stdio,
        },
        listing: call.listing,
    }
}

fn scheme(scheme: wit::Scheme) -> Scheme {
    match scheme {
        wit::Scheme::Bearer => Scheme::Bearer,
        wit::Scheme::Basic => Scheme::Basic,
        wit::Scheme::Dpop => Scheme::Dpop,
        wit::Scheme::Header => Scheme::Header,
        wit::Scheme::Argument => Scheme::Argument,
        wit::Scheme::Certificate => Scheme::Certificate,
    }
}
