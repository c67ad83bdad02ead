//! The states of an upstream's credentials, for the own tool `health_check`. They have names, and never values.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Map, Value};

use super::needs::{CONFIGURED, EXPIRED, MISSING, NeededCredentials};
use witgate_base::party::Principal;
use witgate_config::Upstream;
use witgate_config::secret_programs::SecretLifetime;

/// The headers or variables with secrets, and the credentials, which a reload can replace.
#[derive(Debug, Default)]
pub(crate) struct CredentialStates {
    texts: ArcSwap<Vec<TextState>>,
    needs: Arc<NeededCredentials>,
}

/// A header or variable.
#[derive(Debug)]
struct TextState {
    name: String,
    is_missing: bool,
    /// The lifetimes of its secrets.
    lifetimes: Vec<SecretLifetime>,
}

impl TextState {
    fn present(name: &str, config: &Upstream) -> Self {
        let lifetimes = config.lifetimes.iter().filter(|lifetime| lifetime.is_of(name)).cloned().collect();
        Self { name: name.to_owned(), is_missing: false, lifetimes }
    }

    fn missing(name: &str) -> Self {
        Self { name: name.to_owned(), is_missing: true, lifetimes: Vec::new() }
    }

    fn state(&self) -> &'static str {
        match self.is_missing {
            true => MISSING,
            false if self.lifetimes.iter().any(SecretLifetime::is_over) => EXPIRED,
            false => CONFIGURED,
        }
    }
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
        let present = config.target.texts().iter().map(|(name, _)| TextState::present(name, config));
        let absent = config.absent.iter().map(|name| TextState::missing(name));
        self.texts.store(Arc::new(present.chain(absent).collect()));
    }

    /// The states by the names, for calls of `principal`.
    pub(crate) fn by_name(&self, principal: &Principal) -> Map<String, Value> {
        let texts = self.texts.load();
        let of_texts = texts.iter().map(|text| (text.name.clone(), Value::from(text.state())));
        let of_credentials =
            self.needs.states(principal).into_iter().map(|(name, state)| (name, Value::from(state)));
        of_texts.chain(of_credentials).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;
    use witgate_config::environment::Environment;
    use witgate_config::resolve::load;

    use super::*;

    #[test]
    fn a_header_whose_secret_has_ended_is_expired() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witgate.toml");
        let headers = "{ A = { exec = ['/bin/echo', 'x'], ttl_s = 5 }, B = 'plain' }";
        let text = format!(
            "[upstreams.a]\nurl = 'http://127.0.0.1:9'\nheaders = {headers}\n[policies.keys]\nkind = 'api-key'\n\
             config = {{ store = 'keys.toml' }}\n[pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n"
        );
        std::fs::write(&path, text).unwrap();
        std::fs::write(folder.path().join("keys.toml"), "").unwrap();
        let config = load(Some(&path), &Environment::default()).unwrap().config;
        let states = CredentialStates::of(&config.upstreams[0], &Arc::default());
        let ada = Principal::new("keys".into(), None, "ada");
        let state = |name: &str| states.by_name(&ada).get(name).cloned();
        let deadline = Instant::now() + Duration::from_secs(20);
        while state("A") == Some(json!(CONFIGURED)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!((state("A"), state("B")), (Some(json!(EXPIRED)), Some(json!(CONFIGURED))));
    }
}
