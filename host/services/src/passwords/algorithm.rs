//! The algorithms behind hashes of passwords.

use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use witgate_basic::hash::{Argon2Hash, Argon2Variant, HashKind, PasswordHash};
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

/// A new hash of a password with Argon2id, with a random salt. It blocks the thread for the time of the hash.
///
/// # Errors
/// If the system has no random numbers.
pub fn hash_of(password: &str, costs: Argon2Hash) -> Result<PasswordHash, HashingError> {
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|_| HashingError::Randomness)?;
    let digest = argon2(costs, password, &salt, DIGEST).ok_or(HashingError::Parameters)?;
    let Argon2Hash { memory_kib, passes, lanes, .. } = costs;
    let [salt, digest] = [salt.as_slice(), &digest].map(|bytes| STANDARD_NO_PAD.encode(bytes));
    let text = format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${digest}");
    text.try_into().map_err(|_| HashingError::Parameters)
}

/// The memory that a hash of this kind takes, in KiB. At least 1.
pub(super) fn memory_kib(kind: HashKind) -> u32 {
    let bytes = match kind {
        HashKind::Argon2(costs) => return costs.memory_kib,
        HashKind::Scrypt { log_n, r, p } => scrypt_memory(log_n, r, p),
        // bcrypt has four tables of 1 KiB.
        HashKind::Bcrypt(_) => 4 << 10,
        HashKind::Pbkdf2Sha256(_) => 1,
    };
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX)
}

/// The bytes that scrypt takes: N blocks, one for each lane, and one to mix them.
fn scrypt_memory(log_n: u8, r: u32, p: u32) -> usize {
    let blocks = 1_usize.checked_shl(log_n.into()).and_then(|n| n.checked_add(p as usize + 1));
    blocks.and_then(|blocks| blocks.checked_mul(128 * r as usize)).unwrap_or(usize::MAX)
}

/// True if `hash` is a hash of `password`. None: the system has no memory for the hash. It blocks the thread for the
/// time of the hash.
pub fn is_right(hash: &PasswordHash, password: &str) -> Option<bool> {
    let Some((salt, digest)) = hash.salt_and_digest() else {
        return Some(is_right_for_bcrypt(hash, password));
    };
    let is_it = |found: Zeroizing<Vec<u8>>| verify_slices_are_equal(&found, &digest).is_ok();
    match hash.kind() {
        HashKind::Argon2(costs) => argon2(costs, password, &salt, digest.len()).map(is_it),
        HashKind::Scrypt { log_n, r, p } => scrypt((log_n, r, p), password, &salt, digest.len()).map(is_it),
        HashKind::Pbkdf2Sha256(rounds) => Some(NonZeroU32::new(rounds).is_some_and(|rounds| {
            pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &digest).is_ok()
        })),
        HashKind::Bcrypt(_) => Some(false),
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
    has_memory(scrypt_memory(log_n, r, p))?;
    let mut digest = Zeroizing::new(vec![0; length]);
    scrypt::scrypt(password.as_bytes(), salt, &params, &mut digest).ok()?;
    Some(digest)
}

/// None if the system does not give so many bytes. scrypt would end the process then.
pub(super) fn has_memory(bytes: usize) -> Option<()> {
    Vec::<u8>::new().try_reserve_exact(bytes).ok()
}
