//! The certificate and the key of `[server.tls]`, read again when their files change. They are no part of a
//! generation: neither a certificate nor a configuration has to wait until the other is repaired.

use crate::reload::watch::{UnwatchedFiles, Watcher};
use witgate_base::fingerprints::Fingerprints;
use witgate_server::tls::{TlsError, TlsState};

/// Watches for as long as the returned future is polled. Reports in `unwatched` the files whose changes bring no
/// notification.
pub(crate) async fn watch(tls: &TlsState, unwatched: &UnwatchedFiles) {
    let mut watcher = Watcher::new(unwatched);
    let mut seen = fingerprints(tls);
    // A change before the watch began is not lost.
    let mut refused = tls.reload().err();
    refused.iter().for_each(refuse);
    loop {
        watcher.watch(&seen.paths());
        tokio::select! {
            () = watcher.changed() => {}
            // The files of other settings have just been read.
            () = tls.replaced() => {
                seen = fingerprints(tls);
                continue;
            }
        }
        // A file that could not be read for want of a file descriptor, for example, is good without another change.
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

/// The fingerprints of the files.
fn fingerprints(tls: &TlsState) -> Fingerprints {
    let mut seen = Fingerprints::default();
    tls.files().iter().for_each(|file| seen.note(file));
    seen
}

/// Logs why the pair was refused. While certificate and key are replaced one after the other, they do not fit; the
/// second change brings both.
fn refuse(error: &TlsError) {
    tracing::error!("the change of [server.tls] was not applied; the former certificate stays: {error}");
}
