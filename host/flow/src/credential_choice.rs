//! The credentials of a request, as policies and recordings ask for them.

use std::sync::Arc;

use witgate_plugin::Credential;

use witgate_message::credential::Credentials;
use witgate_policy::Policy;
use witgate_services::traces::Traces;

/// The credential that `policy` judges, if one was shown.
pub(super) fn for_policy<'a>(shown: &'a Credentials, policy: &Policy) -> Option<Credential<'a>> {
    shown.first_of(&policy.wants()?.schemes, policy.credential_header())
}

/// The traces by which a recording recognises these credentials, which must not be in it.
/// None where nothing is recorded.
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
