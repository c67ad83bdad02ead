//! Certificate and key of `[server.tls]`, read again when their files change. Apart from generations:
//! neither has to wait until the other is mended.

use crate::reload::watch::{UnwatchedFiles, Watcher};
use witgate_base::fingerprints::Fingerprints;
use witgate_server::tls::{TlsError, TlsState};

/// Watches for as long as the returned future is polled. Says in `unwatched` which of the files bring no notifications.
pub(crate) async fn watch(tls: &TlsState, unwatched: &UnwatchedFiles) {
    let mut watcher = Watcher::new(unwatched);
    let mut seen = Fingerprints::default();
    tls.files().for_each(|file| seen.note(file));
    // What changed before it was watched is not lost.
    let mut refused = tls.reload().err();
    refused.iter().for_each(refuse);
    loop {
        watcher.watch(&seen.paths());
        watcher.changed().await;
        // What could not be read for want of a descriptor, for example, is good without another change.
        if !seen.differ() && refused.is_none() {
            continue;
        }
        seen = seen.renewed();
        let before = refused.take();
        match tls.reload() {
            Ok(()) => tracing::info!("new connections use the changed certificate of [server.tls]"),
            Err(error) => {
                if before.as_ref() != Some(&error) {
                    refuse(&error);
                }
                refused = Some(error);
            }
        }
    }
}

/// While certificate and key are exchanged one after the other, they do not fit; the second change
/// brings both.
fn refuse(error: &TlsError) {
    tracing::error!("the change of [server.tls] was not applied; the former certificate stays: {error}");
}
