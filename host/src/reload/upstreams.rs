//! The changes that upstreams take at once, and those that wait for a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use witgate_base::signing::PublishedKeys;
use witgate_config::Config;
use witgate_config::accounts::AccountPlace;
use witgate_config::diagnostic::Diagnostic;
use witgate_config::resolve::LoadedConfig;
use witgate_policy::generation::{Generation, Pipeline};
use witgate_upstream::renewal::Renewable;

/// The settings that are fixed at the start: listeners, and the addresses and programs of upstreams.
#[derive(Debug)]
pub(super) struct FixedSettings {
    server: String,
    accounts: String,
    /// The files of accounts, which the running pages write and policies read.
    account_place: Option<AccountPlace>,
    audit: String,
    telemetry: String,
    places: BTreeMap<String, String>,
    /// The endpoints with several upstreams.
    endpoints: String,
}

impl FixedSettings {
    /// The fixed settings of `config`. Secrets in it do not print, so that a changed secret does not show here.
    pub(super) fn of(config: &Config) -> Self {
        let broken = &config.broken.upstreams;
        let usable = config.upstreams.iter().filter(|upstream| !broken.contains(&upstream.name));
        let places = usable.map(|upstream| (upstream.name.clone(), upstream.place()));
        let [server, accounts, audit, telemetry] = [
            format!("{:?}", config.server),
            format!("{:?}", config.accounts),
            format!("{:?}", config.audit),
            format!("{:?}", config.telemetry),
        ];
        let account_place = config.accounts.as_ref().map(|accounts| accounts.place.clone());
        let endpoints = format!("{:?}", config.endpoints);
        Self { server, accounts, account_place, audit, telemetry, places: places.collect(), endpoints }
    }

    /// The reason why `now` cannot be used without a restart: its policies would read other files than the running pages
    /// write, so that no login would end any more.
    pub(super) fn obstacle(&self, now: &Self) -> Option<String> {
        let moved = self.account_place.as_ref().filter(|place| now.account_place.as_ref() != Some(place));
        now.account_place.as_ref().and(moved).map(|place| {
            format!(
                "the accounts are elsewhere now (`accounts.store` or `server.state`): restart Witgate. Until then, those \
                 in {} are in use",
                place.store.display()
            )
        })
    }

    /// The differences in `now` that wait for a restart.
    pub(super) fn waiting(&self, now: &Self) -> Vec<String> {
        let server = (self.server != now.server).then(|| "a change in [server]".to_owned());
        let accounts = (self.accounts != now.accounts).then(|| "a change in [accounts]".to_owned());
        let audit = (self.audit != now.audit).then(|| "a change in [audit]".to_owned());
        let telemetry = (self.telemetry != now.telemetry).then(|| "a change in [telemetry]".to_owned());
        let endpoints = (self.endpoints != now.endpoints).then(|| "a change in [endpoints]".to_owned());
        let moved = |(name, place): &(&String, &String)| {
            self.places.get(*name).is_some_and(|running| running != *place)
        };
        let moved = now.places.iter().filter(moved).map(|(name, _)| {
            format!(
                "a change of the upstream `{name}` beyond its headers, environment, credentials, scopes, identity and pipeline"
            )
        });
        let tables = [server, accounts, audit, telemetry, endpoints];
        tables.into_iter().flatten().chain(moved).collect()
    }
}

/// The upstreams that a change renews.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    /// The upstreams that can take a change.
    pub(super) all: Vec<Renewable>,
    /// The served key set.
    pub(super) keys: Arc<PublishedKeys>,
}

impl Upstreams {
    /// Has each upstream use the configuration that its pipeline in `live` is made from, with secrets as they are now:
    /// a credential changes together with the rules beside it. `config` is the newest configuration, and `read` reads
    /// the text of an earlier one. Returns true if the machine kept an upstream's files from being read.
    pub(super) fn renew(
        &self,
        config: &Config,
        live: &Generation,
        read: impl Fn(&str) -> Result<LoadedConfig, Vec<Diagnostic>>,
    ) -> bool {
        let mut may_pass = false;
        for upstream in &self.all {
            let of_upstream = |pipeline: &&Pipeline| *pipeline.upstream == *upstream.name();
            let Some(pipeline) = live.pipelines().iter().find(of_upstream) else { continue };
            if pipeline.closed.is_some() {
                continue;
            }
            let text = pipeline.recipe.config();
            if text == config.text {
                take(upstream, config);
                continue;
            }
            match read(text) {
                Ok(loaded) => take(upstream, &loaded.config),
                Err(faults) => may_pass |= faults.iter().any(|fault| fault.may_pass()),
            }
        }
        self.publish(config);
        may_pass
    }

    /// Serves the keys that `config` names, and the other keys with which requests to upstreams are signed: an
    /// upstream whose pipeline is held back uses an earlier configuration.
    pub(super) fn publish(&self, config: &Config) {
        let in_use: Vec<_> = self.all.iter().filter_map(Renewable::signer).collect();
        let written = config.signing.iter();
        let written =
            written.flat_map(|signing| [signing.signer.public()].into_iter().chain(&signing.published));
        self.keys.publish(written.chain(in_use.iter().map(|signer| signer.public())));
    }
}

/// An upstream with an unreadable file keeps its settings; the fault is reported with the others.
fn take(upstream: &Renewable, config: &Config) {
    if config.broken.upstreams.contains(upstream.name()) {
        return;
    }
    let Some(written) = config.upstreams.iter().find(|written| written.name == upstream.name()) else {
        return;
    };
    match upstream.take(written) {
        Ok(true) => {
            tracing::info!(upstream = upstream.name(), "the upstream's new headers or environment are in use")
        }
        Ok(false) => {}
        Err(error) => tracing::error!(
            upstream = upstream.name(),
            "the upstream keeps its former headers and environment: {error}"
        ),
    }
}
