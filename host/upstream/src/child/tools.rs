//! The known tools of a child.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use witgate_message::headers::params::HeaderArguments;

/// Time for which the list of tools is used. A tool that changes within this time may be called with its former
/// schema.
const FRESH: Duration = Duration::from_secs(60);
/// Time for a child to list its tools. After that it is called without the check: it gets no headers, and the decision
/// is about the body.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The tools by name, and the time of the list.
pub(super) type KnownTools = (Instant, Arc<HashMap<String, HeaderArguments>>);

/// A child's tools, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct ChildTools {
    known: Mutex<Option<KnownTools>>,
    asking: tokio::sync::Mutex<()>,
}

impl ChildTools {
    /// The known tools. If they are too old or not newer than `outdated`, `list` asks for them. None: they are not
    /// available.
    pub(super) async fn known(
        &self,
        outdated: Option<Instant>,
        list: impl Future<Output = Option<HashMap<String, HeaderArguments>>>,
    ) -> KnownTools {
        let good = |known: &KnownTools| known.0.elapsed() < FRESH && Some(known.0) > outdated;
        let remembered = || self.known.lock().clone().filter(good);
        if let Some(known) = remembered() {
            return known;
        }
        let _turn = self.asking.lock().await;
        if let Some(known) = remembered() {
            return known;
        }
        let listed = tokio::time::timeout(PATIENCE, list).await.ok().flatten();
        let known = (Instant::now(), Arc::new(listed.unwrap_or_default()));
        *self.known.lock() = Some(known.clone());
        known
    }
}
