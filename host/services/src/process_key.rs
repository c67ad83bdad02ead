//! Keys of keyed digests that live as long as the process.

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

/// A new key of random bytes of the system. None: the system gives none.
///
/// The generator of aws-lc would first gather entropy for tens of milliseconds, while the first request waits.
pub(crate) fn random() -> Option<hmac::Key> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret).ok()?;
    Some(hmac::Key::new(hmac::HMAC_SHA256, &*secret))
}
