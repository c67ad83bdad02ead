//! The states of an upstream's credentials, for the own tool `health_check`. They have names, and never values.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Map, Value};

use super::needs::{CONFIGURED, MISSING, NeededCredentials};
use witgate_base::party::Principal;
use witgate_config::Upstream;

/// The headers or variables with secrets, and the credentials, which a reload can replace.
#[derive(Debug, Default)]
pub(crate) struct CredentialStates {
    /// The names of headers or variables, each with its state.
    texts: ArcSwap<Vec<(String, &'static str)>>,
    needs: Arc<NeededCredentials>,
}

impl CredentialStates {
    /// Those of the upstream with this configuration.
    pub(crate) fn of(config: &Upstream, needs: &Arc<NeededCredentials>) -> Self {
        let states = Self { texts: ArcSwap::default(), needs: Arc::clone(needs) };
        states.replace(config);
        states
    }

    /// Uses the names of a changed configuration from now on.
    pub(crate) fn replace(&self, config: &Upstream) {
        let present = config.target.texts().iter().map(|(name, _)| (name.clone(), CONFIGURED));
        let absent = config.absent.iter().map(|name| (name.clone(), MISSING));
        self.texts.store(Arc::new(present.chain(absent).collect()));
    }

    /// The states by the names, for calls of `principal`.
    pub(crate) fn by_name(&self, principal: &Principal) -> Map<String, Value> {
        let texts = self.texts.load();
        let of_texts = texts.iter().map(|(name, state)| (name.clone(), Value::from(*state)));
        let of_credentials =
            self.needs.states(principal).into_iter().map(|(name, state)| (name, Value::from(state)));
        of_texts.chain(of_credentials).collect()
    }
}
