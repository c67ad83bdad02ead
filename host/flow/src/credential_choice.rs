//! Chooses the credentials of a request for policies and recordings.

use std::sync::Arc;

use witgate_plugin::Credential;

use witgate_message::credential::Credentials;
use witgate_policy::Policy;
use witgate_services::traces::Traces;

/// The credential that `policy` judges, if the request has one.
pub(super) fn for_policy<'a>(shown: &'a Credentials, policy: &Policy) -> Option<Credential<'a>> {
    shown.first_of(&policy.wants()?.schemes, policy.credential_headers())
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
