//! The answers about reloads: what one has changed, or would change.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::reload::Reloader;
use crate::reload::difference::SettingChange;

/// The answer to [`Reload`](super::protocol::ControlCommand::Reload).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ReloadReport {
    /// True if nothing was changed, because only the changes were asked for.
    pub check: bool,
    /// The number of the live generation.
    pub generation: u64,
    /// The number of the live generation before.
    pub before: u64,
    /// The settings that differ.
    pub changes: Vec<ReportedChange>,
    /// The upstreams that would be added, removed or served anew, in sentences.
    pub upstreams: Vec<String>,
    /// The reasons why the files, or a part of them, are not used, in sentences. Empty: they are.
    pub refused: Vec<String>,
}

/// A setting that differs. Values that may be secret are not shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ReportedChange {
    pub key: String,
    /// The former value. None: it was absent.
    pub old: Option<String>,
    /// The new value. None: it is absent.
    pub new: Option<String>,
    /// The moment from which it counts, in words.
    pub in_force: String,
}

impl From<SettingChange> for ReportedChange {
    fn from(SettingChange { key, old, new, in_force }: SettingChange) -> Self {
        Self { key, old, new, in_force: in_force.to_owned() }
    }
}

fn reported(changes: Vec<SettingChange>) -> Vec<ReportedChange> {
    changes.into_iter().map(ReportedChange::from).collect()
}

/// Reloads now.
pub(super) async fn reload(reloader: &Reloader) -> ReloadReport {
    let result = reloader.reload().await;
    ReloadReport {
        check: false,
        generation: result.live.number(),
        before: result.before.number(),
        changes: reported(result.changes),
        upstreams: Vec::new(),
        refused: result.refused,
    }
}

/// The changes of a reload.
///
/// # Errors
/// If the files cannot be read.
pub(super) async fn check(reloader: &Arc<Reloader>) -> Result<ReloadReport, String> {
    let reloader = Arc::clone(reloader);
    // Files and programs with secrets may keep a reader waiting.
    let preview = tokio::task::spawn_blocking(move || reloader.preview());
    let preview = preview.await.map_err(|error| error.to_string())??;
    let generation = preview.live.number();
    Ok(ReloadReport {
        check: true,
        generation,
        before: generation,
        changes: reported(preview.changes),
        upstreams: preview.upstreams,
        refused: preview.refused,
    })
}
