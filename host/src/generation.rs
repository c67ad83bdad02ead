//! Generations: immutable, fully checked sets of policies. Exactly one is live.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderName;

/// One immutable set of compiled policies with their config.
#[derive(Debug)]
pub struct Generation {
    number: u64,
    credential_headers: Vec<HeaderName>,
}

impl Generation {
    /// Its number; the first is 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Headers that carry credentials, beside `Authorization`, as its policies declared them.
    pub fn credential_headers(&self) -> &[HeaderName] {
        &self.credential_headers
    }
}

/// The live generation, behind one atomic pointer.
#[derive(Debug)]
pub struct Generations {
    live: ArcSwap<Generation>,
}

impl Generations {
    /// The live generation. A request takes it once and stays on it.
    pub fn live(&self) -> Arc<Generation> {
        self.live.load_full()
    }
}
