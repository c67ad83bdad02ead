//! Hashes of passwords: their forms, and the cost of a check. The host computes them; here they are only read.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};

/// The maximum number of bytes in a hash.
const LONGEST: usize = 512;

/// The most memory of one check, in KiB.
pub const MOST_MEMORY_KIB: u64 = 128 << 10;

/// The most work of one check with Argon2: memory in KiB, times passes.
pub const MOST_WORK_KIB: u64 = 1 << 20;

/// The hash of new passwords: Argon2id with the least cost that OWASP's "Password Storage Cheat Sheet" recommends.
pub const RECOMMENDED: Argon2Hash =
    Argon2Hash { variant: Argon2Variant::Id, version: 0x13, memory_kib: 19_456, passes: 2, lanes: 1 };

/// The hash of a password. It is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash {
    text: String,
    kind: HashKind,
}

/// The algorithm of a hash, with its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashKind {
    /// Argon2 (RFC 9106).
    Argon2(Argon2Hash),
    /// bcrypt, whose work is two to the power of this.
    Bcrypt(u32),
    /// scrypt (RFC 7914).
    Scrypt {
        /// The logarithm of N.
        log_n: u8,
        /// The block size.
        r: u32,
        /// The parallelism.
        p: u32,
    },
    /// PBKDF2 (RFC 8018) with HMAC-SHA-256 and this number of iterations.
    Pbkdf2Sha256(u32),
}

/// The parameters of Argon2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Argon2Hash {
    /// The variant.
    pub variant: Argon2Variant,
    /// The version: 0x10 or 0x13.
    pub version: u8,
    /// The memory in KiB.
    pub memory_kib: u32,
    /// The number of passes.
    pub passes: u32,
    /// The number of lanes.
    pub lanes: u32,
}

/// A variant of Argon2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "RFC 9106 describes them")]
pub enum Argon2Variant {
    D,
    I,
    Id,
}

/// The reason why a text is not used as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashFault {
    /// It has the form of none of the known hashes.
    Form,
    /// It is a hash of an algorithm that is too quick: its name.
    Quick(&'static str),
    /// It is a hash of an algorithm that is not supported: its name.
    Unsupported(&'static str),
    /// A check would cost more than the host permits.
    Costly,
}

impl fmt::Display for HashFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str(
                "not a password hash; write one of the forms $argon2id$…, $2b$…, $scrypt$… and $pbkdf2-sha256$…",
            ),
            Self::Quick(name) => write!(
                f,
                "a hash of {name}, which is too quick to protect a password; give the user a new password"
            ),
            Self::Unsupported(name) => {
                write!(f, "a hash of {name}, which is not supported; give the user a new password")
            }
            Self::Costly => f.write_str(
                "a hash whose check would cost too much: at most 128 MiB, 1 GiB over all passes of Argon2, a cost of 14 for \
                 bcrypt, and 2,000,000 iterations of PBKDF2",
            ),
        }
    }
}

impl std::error::Error for HashFault {}

impl PasswordHash {
    /// A hash with the cost of new ones that no password has.
    pub fn nobody() -> Self {
        let zeros = |number| "A".repeat(number);
        let text = format!("$argon2id$v=19$m=19456,t=2,p=1${}${}", zeros(22), zeros(43));
        Self { text, kind: HashKind::Argon2(RECOMMENDED) }
    }

    /// The text of the hash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The algorithm and its cost.
    pub fn kind(&self) -> HashKind {
        self.kind
    }

    /// True if hashes of the recommended cost would not be stronger.
    pub fn is_current(&self) -> bool {
        self.is_at_least(RECOMMENDED)
    }

    /// True if hashes of this cost would not be stronger: they need no more memory, and no more work. Fewer passes over
    /// more memory are as good.
    pub fn is_at_least(&self, new: Argon2Hash) -> bool {
        let HashKind::Argon2(own) = self.kind else { return false };
        let work = |hash: Argon2Hash| u64::from(hash.memory_kib) * u64::from(hash.passes);
        own.variant == new.variant
            && own.version == new.version
            && own.memory_kib >= new.memory_kib
            && work(own) >= work(new)
    }

    /// A hash of the same cost that no password has.
    pub fn decoy(&self) -> Self {
        let (zero, kept) = match self.kind {
            HashKind::Bcrypt(_) => ('.', self.text.len().saturating_sub(BCRYPT_DIGEST)),
            _ => ('A', self.text.rfind('$').map_or(0, |place| place + 1)),
        };
        let mut text = self.text.get(..kept).unwrap_or_default().to_owned();
        text.extend(std::iter::repeat_n(zero, self.text.len() - kept));
        Self { text, kind: self.kind }
    }

    /// Salt and digest. None: it is a hash of bcrypt, whose parts have an alphabet of their own.
    pub fn salt_and_digest(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut parts = self.text.rsplit('$');
        let (digest, salt) = (parts.next()?, parts.next()?);
        match self.kind {
            HashKind::Bcrypt(_) => None,
            _ => Some((decoded(salt)?, decoded(digest)?)),
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({:?}, ****)", self.kind)
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.text
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = HashFault;

    fn try_from(text: String) -> Result<Self, HashFault> {
        let kind = kind(&text)?;
        let hash = Self { text, kind };
        match (kind, hash.salt_and_digest()) {
            (HashKind::Bcrypt(_), _) => Ok(hash),
            (_, Some((salt, digest)))
                if (8..=64).contains(&salt.len()) && (16..=64).contains(&digest.len()) =>
            {
                Ok(hash)
            }
            _ => Err(HashFault::Form),
        }
    }
}

impl std::str::FromStr for PasswordHash {
    type Err = HashFault;

    fn from_str(text: &str) -> Result<Self, HashFault> {
        text.to_owned().try_into()
    }
}

/// Base64 as PHC texts have it, without padding. The unused bits of the last character may have any value, as in texts
/// of other programs.
const PHC: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

fn decoded(text: &str) -> Option<Vec<u8>> {
    // Python's passlib writes a dot in place of the plus sign.
    let text = if text.contains('.') { Cow::Owned(text.replace('.', "+")) } else { Cow::Borrowed(text) };
    PHC.decode(&*text).ok()
}

/// The algorithm that the beginning of a text names.
fn kind(text: &str) -> Result<HashKind, HashFault> {
    if text.len() > LONGEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(HashFault::Form);
    }
    let mut fields = text.strip_prefix('$').ok_or_else(|| without_dollar(text))?.split('$');
    let name = fields.next().unwrap_or_default();
    let rest: Vec<&str> = fields.collect();
    match name {
        "argon2id" => argon2(Argon2Variant::Id, &rest),
        "argon2i" => argon2(Argon2Variant::I, &rest),
        "argon2d" => argon2(Argon2Variant::D, &rest),
        "2a" | "2b" | "2y" => bcrypt(&rest),
        "scrypt" => scrypt(&rest),
        "pbkdf2-sha256" => pbkdf2(&rest),
        "1" | "apr1" => Err(HashFault::Quick("MD5")),
        "5" => Err(HashFault::Unsupported("SHA-256-crypt")),
        "6" => Err(HashFault::Unsupported("SHA-512-crypt")),
        "7" | "y" | "gy" => Err(HashFault::Unsupported("yescrypt")),
        "2x" => Err(HashFault::Unsupported("bcrypt with the fault of 2011 ($2x$)")),
        "pbkdf2" => Err(HashFault::Unsupported("PBKDF2 with SHA-1")),
        "pbkdf2-sha512" => Err(HashFault::Unsupported("PBKDF2 with SHA-512")),
        _ => Err(HashFault::Form),
    }
}

/// The fault of a text that names no algorithm in the usual place.
fn without_dollar(text: &str) -> HashFault {
    let is_crypt = text.len() == 13 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"./".contains(&b));
    match text {
        _ if text.starts_with("{SHA}") || text.starts_with("{SSHA}") => HashFault::Quick("SHA-1"),
        _ if is_crypt => HashFault::Quick("DES crypt"),
        _ => HashFault::Form,
    }
}

fn argon2(variant: Argon2Variant, fields: &[&str]) -> Result<HashKind, HashFault> {
    let (version, costs) = match fields {
        [version, costs, _, _] if *version == "v=19" => (0x13, costs),
        [version, costs, _, _] if *version == "v=16" => (0x10, costs),
        [costs, _, _] => (0x10, costs),
        _ => return Err(HashFault::Form),
    };
    let [memory_kib, passes, lanes] = numbers(costs, ["m", "t", "p"])?;
    let (memory, work) = (u64::from(memory_kib), u64::from(memory_kib) * u64::from(passes));
    if passes == 0 || lanes == 0 || memory < 8 * u64::from(lanes) {
        return Err(HashFault::Form);
    }
    if memory > MOST_MEMORY_KIB || work > MOST_WORK_KIB || lanes > 16 {
        return Err(HashFault::Costly);
    }
    Ok(HashKind::Argon2(Argon2Hash { variant, version, memory_kib, passes, lanes }))
}

/// The characters of a digest of bcrypt, and those of its salt and digest together.
const BCRYPT_DIGEST: usize = 31;
const BCRYPT_REST: usize = 53;

fn bcrypt(fields: &[&str]) -> Result<HashKind, HashFault> {
    let [cost, rest] = fields else { return Err(HashFault::Form) };
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"./".contains(&byte);
    if cost.len() != 2 || rest.len() != BCRYPT_REST || !rest.bytes().all(is_known) {
        return Err(HashFault::Form);
    }
    match number(cost.trim_start_matches('0'))? {
        cost @ 4..=14 => Ok(HashKind::Bcrypt(cost)),
        15..=31 => Err(HashFault::Costly),
        _ => Err(HashFault::Form),
    }
}

fn scrypt(fields: &[&str]) -> Result<HashKind, HashFault> {
    let [costs, _, _] = fields else { return Err(HashFault::Form) };
    let [log_n, r, p] = numbers(costs, ["ln", "r", "p"])?;
    if !(1..=63).contains(&log_n) || r == 0 || p == 0 || u64::from(log_n) >= 16 * u64::from(r) {
        return Err(HashFault::Form);
    }
    let memory_kib = u64::from(r).checked_mul(1 << log_n.min(40)).map(|blocks| blocks.div_ceil(8));
    if log_n > 30 || p > 4 || memory_kib.is_none_or(|memory| memory > MOST_MEMORY_KIB) {
        return Err(HashFault::Costly);
    }
    let log_n = u8::try_from(log_n).map_err(|_| HashFault::Form)?;
    Ok(HashKind::Scrypt { log_n, r, p })
}

/// `i=600000,l=32` as in PHC texts, or `29000` as in those of passlib.
fn pbkdf2(fields: &[&str]) -> Result<HashKind, HashFault> {
    let [costs, _, _] = fields else { return Err(HashFault::Form) };
    let rounds = match costs.split_once(',') {
        Some(_) => {
            let [rounds, _] = numbers(costs, ["i", "l"])?;
            rounds
        }
        None => number(costs.strip_prefix("i=").unwrap_or(costs))?,
    };
    match rounds {
        0 => Err(HashFault::Form),
        1..=2_000_000 => Ok(HashKind::Pbkdf2Sha256(rounds)),
        _ => Err(HashFault::Costly),
    }
}

/// The numbers of `a=1,b=2`, whose names are `names` in this order.
fn numbers<const N: usize>(text: &str, names: [&str; N]) -> Result<[u32; N], HashFault> {
    let mut found = [0; N];
    let mut parts = text.split(',');
    for (place, name) in found.iter_mut().zip(names) {
        let value = parts.next().and_then(|part| part.strip_prefix(name)?.strip_prefix('='));
        *place = number(value.ok_or(HashFault::Form)?)?;
    }
    if parts.next().is_some() { Err(HashFault::Form) } else { Ok(found) }
}

/// A decimal number without a sign and without leading zeros.
fn number(text: &str) -> Result<u32, HashFault> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && !(text.len() > 1 && text.starts_with('0'));
    match is_plain && !text.is_empty() {
        true if text.len() > 9 => Err(HashFault::Costly),
        true => text.parse().map_err(|_| HashFault::Form),
        false => Err(HashFault::Form),
    }
}

#[cfg(test)]
mod tests {
    use witgate_testing::growth::assert_linear;

    use super::*;

    const ARGON2: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    const BCRYPT: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
    const SCRYPT: &str = "$scrypt$ln=17,r=8,p=1$c2FsdHNhbHQ$47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    const PASSLIB: &str =
        "$pbkdf2-sha256$29000$0ZrzXitFSGltTQnBWOsdeA$Y11AchqV4b0sUisdZd0Xr97KWoymNE0LNNrnEgY4H9M";

    fn fault(text: &str) -> HashFault {
        text.parse::<PasswordHash>().unwrap_err()
    }

    #[test]
    fn hashes_of_all_forms_are_read() {
        let kind = |text: &str| text.parse::<PasswordHash>().map(|hash| hash.kind());
        assert_eq!(kind(ARGON2), Ok(HashKind::Argon2(RECOMMENDED)));
        assert_eq!(kind(BCRYPT), Ok(HashKind::Bcrypt(5)));
        assert_eq!(kind(SCRYPT), Ok(HashKind::Scrypt { log_n: 17, r: 8, p: 1 }));
        assert_eq!(kind(PASSLIB), Ok(HashKind::Pbkdf2Sha256(29_000)));
        assert_eq!(kind(&PASSLIB.replace("29000", "i=600000,l=32")), Ok(HashKind::Pbkdf2Sha256(600_000)));
    }

    #[test]
    fn only_argon2id_with_the_usual_cost_is_current() {
        let is_current = |text: &str| text.parse::<PasswordHash>().unwrap().is_current();
        assert!(is_current(ARGON2) && is_current(&ARGON2.replace("m=19456", "m=65536")));
        for other in [
            BCRYPT,
            SCRYPT,
            PASSLIB,
            &ARGON2.replace("t=2", "t=1"),
            &ARGON2.replace("m=19456", "m=4096"),
            &ARGON2.replace("v=19", "v=16"),
            &ARGON2.replace("argon2id", "argon2i"),
        ] {
            assert!(!is_current(other), "{other}");
        }
    }

    #[test]
    fn a_hash_with_fewer_passes_over_more_memory_is_kept() {
        let with = |costs: &str| ARGON2.replace("m=19456,t=2", costs).parse::<PasswordHash>().unwrap();
        for (costs, is_kept) in [
            ("m=131072,t=1", true),
            ("m=38912,t=1", true),
            ("m=38911,t=1", false),
            ("m=19455,t=9", false),
            ("m=19456,t=3", true),
        ] {
            assert_eq!(with(costs).is_at_least(RECOMMENDED), is_kept, "{costs}");
        }
        let higher = Argon2Hash { memory_kib: 20_480, passes: 3, ..RECOMMENDED };
        assert!(with("m=65536,t=1").is_at_least(higher) && !with("m=61439,t=1").is_at_least(higher));
    }

    #[test]
    fn other_hashes_are_refused_by_name() {
        for (text, expected) in [
            ("$apr1$zYx$abc", HashFault::Quick("MD5")),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", HashFault::Quick("SHA-1")),
            ("rl0uE2b3hQxMQ", HashFault::Quick("DES crypt")),
            ("$6$salt$digest", HashFault::Unsupported("SHA-512-crypt")),
            ("$y$j9T$salt$digest", HashFault::Unsupported("yescrypt")),
            ("secret", HashFault::Form),
            ("", HashFault::Form),
        ] {
            assert_eq!(fault(text), expected, "{text}");
        }
    }

    #[test]
    fn the_cost_of_a_check_is_bounded() {
        for (text, from, to) in [
            (ARGON2, "m=19456", "m=131073"),
            (ARGON2, "t=2", "t=60"),
            (ARGON2, "t=2", "t=4294967296"),
            (ARGON2, "p=1", "p=17"),
            (BCRYPT, "$05$", "$15$"),
            (SCRYPT, "ln=17", "ln=18"),
            (SCRYPT, "ln=17", "ln=40"),
            (SCRYPT, "p=1", "p=5"),
            (PASSLIB, "29000", "2000001"),
        ] {
            assert_eq!(fault(&text.replace(from, to)), HashFault::Costly, "{text} {to}");
        }
    }

    #[test]
    fn damaged_hashes_are_refused() {
        for (text, from, to) in [
            (ARGON2, "m=19456,t=2,p=1", "t=2,m=19456,p=1"),
            (ARGON2, "p=1", "p=1,x=1"),
            (ARGON2, "m=19456", "m=019456"),
            (ARGON2, "m=19456", "m=+19456"),
            (ARGON2, "m=19456", "m=4"),
            (ARGON2, "t=2", "t=0"),
            (ARGON2, "v=19", "v=20"),
            (ARGON2, "$c2FsdHNhbHRzYWx0$", "$c2E$"),
            (ARGON2, "47DEQpj8HBSa", "47DEQpj8H Sa"),
            (BCRYPT, "$05$", "$03$"),
            (BCRYPT, "$05$", "$5$"),
            (BCRYPT, "RqC", "Rq"),
            (SCRYPT, "r=8", "r=0"),
            (PASSLIB, "29000", "0"),
        ] {
            let fault = fault(&text.replace(from, to));
            assert_eq!(fault, HashFault::Form, "{text} {to}");
        }
    }

    #[test]
    fn a_decoy_costs_the_same() {
        for text in [ARGON2, BCRYPT, SCRYPT, PASSLIB] {
            let hash: PasswordHash = text.parse().unwrap();
            let decoy = hash.decoy();
            assert_eq!((decoy.kind(), decoy.text.len()), (hash.kind(), text.len()));
            assert_ne!(decoy, hash);
            assert_eq!(decoy.as_str().parse::<PasswordHash>().unwrap(), decoy);
        }
    }

    #[test]
    fn the_hash_of_nobody_has_the_usual_form() {
        let nobody = PasswordHash::nobody();
        assert_eq!(nobody.as_str().parse::<PasswordHash>().unwrap(), nobody);
        assert!(nobody.is_current());
    }

    #[test]
    fn a_hash_is_not_printed() {
        let shown = format!("{:?}", BCRYPT.parse::<PasswordHash>().unwrap());
        assert_eq!(shown, "PasswordHash(Bcrypt(5), ****)");
    }

    #[test]
    fn the_time_of_the_parse_grows_linearly() {
        assert_linear("a hash", 20_000, |size| "$".repeat(size), |text| drop(text.parse::<PasswordHash>()));
    }
}
