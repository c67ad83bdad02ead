//! The key of a file, and the keys that follow from it.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

/// The key of one file.
pub(super) type FileKey = Zeroizing<[u8; 16]>;

/// A key for one purpose, by HKDF with SHA-256.
pub(super) fn derived(
    secret: &[u8],
    salt: &[u8],
    purpose: &[u8],
) -> Result<Zeroizing<[u8; 32]>, Unspecified> {
    let mut key = Zeroizing::new([0; 32]);
    let secret = Salt::new(HKDF_SHA256, salt).extract(secret);
    secret.expand(&[purpose], HKDF_SHA256)?.fill(key.as_mut_slice())?;
    Ok(key)
}
