//! The algorithms behind hashes of passwords.

use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use witgate_basic::hash::{Argon2Hash, Argon2Variant, HashKind, PasswordHash, RECOMMENDED};
use zeroize::Zeroizing;

/// The bytes of a password that bcrypt reads.
const BCRYPT_READS: usize = 72;

/// The number of bytes in a new salt and in a new digest (RFC 9106, section 4).
const SALT: usize = 16;
const DIGEST: usize = 32;

/// The reason why there is no new hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Randomness,
    /// The algorithm refuses its parameters, or has no memory.
    #[error("the password cannot be hashed")]
    Parameters,
}

/// A new hash of a password, with a random salt. It blocks the thread for the time of the hash.
///
/// # Errors
/// If the system has no random numbers.
pub fn hash_of(password: &str) -> Result<PasswordHash, HashingError> {
    let HashKind::Argon2(costs) = RECOMMENDED else { return Err(HashingError::Parameters) };
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|_| HashingError::Randomness)?;
    let digest = argon2(costs, password, &salt, DIGEST).ok_or(HashingError::Parameters)?;
    let Argon2Hash { memory_kib, passes, lanes, .. } = costs;
    let [salt, digest] = [salt.as_slice(), &digest].map(|bytes| STANDARD_NO_PAD.encode(bytes));
    let text = format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${digest}");
    text.try_into().map_err(|_| HashingError::Parameters)
}

/// True if `hash` is a hash of `password`. It blocks the thread for the time of the hash.
pub fn is_right(hash: &PasswordHash, password: &str) -> bool {
    let Some((salt, digest)) = hash.salt_and_digest() else { return is_right_for_bcrypt(hash, password) };
    let is_it = |found: Option<Zeroizing<Vec<u8>>>| {
        found.is_some_and(|found| verify_slices_are_equal(&found, &digest).is_ok())
    };
    match hash.kind() {
        HashKind::Argon2(costs) => is_it(argon2(costs, password, &salt, digest.len())),
        HashKind::Scrypt { log_n, r, p } => is_it(scrypt((log_n, r, p), password, &salt, digest.len())),
        HashKind::Pbkdf2Sha256(rounds) => NonZeroU32::new(rounds).is_some_and(|rounds| {
            pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &digest).is_ok()
        }),
        HashKind::Bcrypt(_) => false,
    }
}

/// bcrypt ignores what follows its 72 bytes. So a longer password is wrong, which takes the same time.
fn is_right_for_bcrypt(hash: &PasswordHash, password: &str) -> bool {
    let bytes = password.as_bytes();
    let read = bytes.get(..BCRYPT_READS).unwrap_or(bytes);
    bcrypt::verify(read, hash.as_str()).unwrap_or(false) && read.len() == bytes.len()
}

fn argon2(costs: Argon2Hash, password: &str, salt: &[u8], length: usize) -> Option<Zeroizing<Vec<u8>>> {
    let algorithm = match costs.variant {
        Argon2Variant::D => Algorithm::Argon2d,
        Argon2Variant::I => Algorithm::Argon2i,
        Argon2Variant::Id => Algorithm::Argon2id,
    };
    let version = if costs.version == 0x10 { Version::V0x10 } else { Version::V0x13 };
    let params = Params::new(costs.memory_kib, costs.passes, costs.lanes, Some(length)).ok()?;
    let mut digest = Zeroizing::new(vec![0; length]);
    Argon2::new(algorithm, version, params)
        .hash_password_into(password.as_bytes(), salt, &mut digest)
        .ok()?;
    Some(digest)
}

fn scrypt(
    (log_n, r, p): (u8, u32, u32),
    password: &str,
    salt: &[u8],
    length: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let params = scrypt::Params::new(log_n, r, p).ok()?;
    let mut digest = Zeroizing::new(vec![0; length]);
    scrypt::scrypt(password.as_bytes(), salt, &params, &mut digest).ok()?;
    Some(digest)
}
