//! Chooses the credentials of a request for policies and recordings.

use std::sync::Arc;

use witgate_plugin::{Credential, Scheme};

use crate::authenticate::identity::Caller;
use witgate_config::{self as config, Mode, PolicyKind};
use witgate_credentials::caller_token::CallerToken;
use witgate_message::argument_credentials::CredentialArgument;
use witgate_message::credential::Credentials;
use witgate_policy::Policy;
use witgate_policy::generation::{Generation, Pipeline};
use witgate_services::traces::Traces;

/// The arguments of tools that the authenticators of a pipeline have declared as credentials, also those of the
/// pipeline that is held back.
pub(super) fn arguments(pipeline: &Pipeline) -> Vec<CredentialArgument> {
    let declared = |(policy, argument): (&Policy, &config::ArgumentSettings)| CredentialArgument {
        policy: Arc::clone(policy.name()),
        name: Arc::clone(&argument.name),
        on: Arc::clone(&argument.on),
        watched: policy.mode() == Mode::Shadow,
    };
    pipeline.credential_arguments().map(declared).collect()
}

/// The credential that `policy` judges, if the request has one.
pub(super) fn for_policy<'a>(shown: &'a Credentials, policy: &Policy) -> Option<Credential<'a>> {
    let of_argument = policy.credential_argument().map(|_| &**policy.name());
    shown.first_of(&policy.wants()?.schemes, policy.credential_headers(), of_argument)
}

/// The token with which the caller has authenticated, for an exchange. None: they have authenticated otherwise. An API key
/// is no token, even in `Authorization: Bearer`.
pub(super) fn caller_token(
    shown: &Credentials,
    generation: &Generation,
    caller: &Caller,
) -> Option<Arc<CallerToken>> {
    let policy = generation.policy(caller.proven_by())?;
    let judges_tokens = matches!(policy.kind(), PolicyKind::Jwt | PolicyKind::Introspection);
    let token = for_policy(shown, policy)?;
    let is_token = judges_tokens && matches!(token.scheme, Scheme::Bearer | Scheme::Dpop);
    is_token.then(|| Arc::new(CallerToken::new(caller.principal(), token.value)))
}

/// The traces by which a recording recognises these credentials, which it must not contain. None if nothing is
/// recorded.
pub(super) fn traces(shown: &Credentials, is_recorded: bool) -> Option<Arc<Traces>> {
    is_recorded.then(|| Arc::new(all_traces(shown)))
}

fn all_traces(shown: &Credentials) -> Traces {
    let mut traces = Traces::default();
    for (scheme, text) in shown.texts() {
        match scheme {
            Some(scheme) => traces.add(scheme, text),
            None => traces.add_text(text),
        }
    }
    traces
}
