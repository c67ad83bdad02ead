//! Certificate and key of `[server.tls]`, read again when their files change. Apart from generations:
//! neither has to wait until the other is mended.

use crate::fingerprints::Fingerprints;
use crate::reload::watch::Watcher;
use crate::server::tls::{Tls, TlsError};

/// Watches for as long as the returned future is polled.
///
/// # Errors
/// When the machine offers no file notifications.
pub async fn watch(tls: &Tls) -> notify::Result<()> {
    let mut watcher = Watcher::new()?;
    let mut seen = Fingerprints::default();
    tls.files().for_each(|file| seen.note(file));
    watcher.watch(&seen.paths());
    // What changed before it was watched is not lost.
    if let Err(error) = tls.reload() {
        refuse(&error);
    }
    while watcher.changed().await.is_some() {
        if seen.differ() {
            seen = seen.renewed();
            watcher.watch(&seen.paths());
            match tls.reload() {
                Ok(()) => tracing::info!("new connections get the certificate of [server.tls] as it is now"),
                Err(error) => refuse(&error),
            }
        }
    }
    Ok(())
}

/// While certificate and key are exchanged one after the other, they do not fit; the second change
/// brings both.
fn refuse(error: &TlsError) {
    tracing::error!("the change of [server.tls] was not taken, and what was there stays: {error}");
}
