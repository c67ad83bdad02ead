//! The interface to the parts of a running gateway beside its policies: upstreams, listener, limits and traces. All of a
//! change is prepared first, so that nothing of it can fail once it is in use.

use std::sync::Arc;

use witgate_config::Config;
use witgate_policy::generation::Generation;
use witgate_upstream::renewal::Renewable;

/// The parts of a running gateway that follow its configuration.
pub(crate) trait GatewayParts: Send + Sync {
    /// Makes what `config` and the pipelines of `next` need and what does not run yet. Nothing of it is in use.
    ///
    /// # Errors
    /// With all reasons why the change is not possible, in sentences.
    fn prepare(
        self: Arc<Self>,
        config: &Config,
        next: &Generation,
    ) -> Result<Box<dyn PreparedParts>, Vec<String>>;

    /// The upstreams that a change can renew, with the places of their pipelines.
    fn renewable(&self) -> Vec<(usize, Arc<Renewable>)>;
}

/// Makes a candidate the live generation.
pub(crate) type Flip<'a> = Box<dyn FnOnce() -> Arc<Generation> + 'a>;

/// The parts of a change, ready for use.
pub(crate) trait PreparedParts: Send {
    /// Uses them together with the generation that `flip` makes live. Parts that are replaced end with their calls.
    fn take_over(self: Box<Self>, flip: Flip<'_>) -> Arc<Generation>;
}
