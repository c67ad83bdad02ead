//! The changes that running upstreams take at once: headers, environment, credentials and identity.

use std::sync::Arc;

use super::gateway_parts::GatewayParts;
use witgate_base::signing::PublishedKeys;
use witgate_config::Config;
use witgate_config::diagnostic::Diagnostic;
use witgate_config::resolve::LoadedConfig;
use witgate_policy::generation::Generation;
use witgate_upstream::renewal::Renewable;

/// The upstreams that a change renews.
#[derive(Default)]
pub(super) struct Upstreams {
    /// The parts with the upstreams. None: they belong to the program that embeds the gateway.
    pub(super) parts: Option<Arc<dyn GatewayParts>>,
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
        for (place, upstream) in &self.renewable() {
            let pipeline = live.pipeline(*place);
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
        // The keys of a change that is not live yet, or refused, are not published.
        match live.recipe().config() {
            text if text == config.text => self.publish(config),
            text => match read(text) {
                Ok(loaded) => self.publish(&loaded.config),
                Err(faults) => may_pass |= faults.iter().any(|fault| fault.may_pass()),
            },
        }
        may_pass
    }

    fn renewable(&self) -> Vec<(usize, Arc<Renewable>)> {
        self.parts.as_ref().map(|parts| parts.renewable()).unwrap_or_default()
    }

    /// Serves the keys that `config` names, and the other keys with which requests to upstreams are signed: an
    /// upstream whose pipeline is held back uses an earlier configuration.
    pub(super) fn publish(&self, config: &Config) {
        let in_use: Vec<_> = self.renewable().iter().filter_map(|(_, upstream)| upstream.signer()).collect();
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
