//! Signed checkpoints (C2SP tlog-checkpoint and signed-note): the size of the log and the root of its tree, signed with
//! Ed25519.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::hex;
use crate::note_key::NoteKey;
use crate::tree::Hash;

/// The signature type of Ed25519 in signed notes.
const ED25519_NOTE: u8 = 1;

/// The length of a signature in bytes. Those of other kinds of keys are longer.
const ED25519_LENGTH: usize = 64;

/// The mark at the beginning of a signature line: an em dash and a space.
pub(crate) const MARK: &str = "\u{2014} ";

/// The error in a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointKeyError {
    /// The text is not a private key for Ed25519.
    #[error("this is not a private key for Ed25519 in PEM (PKCS #8, `BEGIN PRIVATE KEY`)")]
    Private,
    /// The text is not a public key.
    #[error("this is not the public key of an audit (`NAME+ID+KEY`, as in the file `public-key`)")]
    Public,
    /// The text is not the public key of a witness.
    #[error("this is not the public key of a witness (`NAME+ID+KEY`, for cosignatures with Ed25519)")]
    Witness,
    /// The origin cannot be the name of a key.
    #[error("the origin has to consist of 1 to 128 visible ASCII characters without `+`")]
    Origin,
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// The error in a signed checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The text is not a checkpoint.
    #[error("it is not a checkpoint")]
    Form,
    /// No signature is by a known key.
    #[error("it is not signed by a known key")]
    Signer,
    /// The signature is not of this text.
    #[error("its signature is wrong")]
    Signature,
}

/// The state of a log at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// The number of lines.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

impl Checkpoint {
    /// Reads a signed checkpoint without a check of its signature.
    pub fn peek(note: &str) -> Option<Self> {
        let (body, _) = note.split_once("\n\n")?;
        let mut lines = body.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        let is_canonical = size == "0" || !size.starts_with(['0', '+']);
        let size = size.parse().ok().filter(|_| is_canonical)?;
        (!origin.is_empty()).then(|| Self { origin: origin.to_owned(), size, root })
    }

    /// True if the text is one that a kill can leave of a checkpoint by one of `keys`: its beginning.
    pub(crate) fn is_torn(text: &str, keys: &[CheckpointKey]) -> bool {
        // The last character may be incomplete, and a line end may have been added.
        let begun = text.trim_end_matches(['\n', '\u{fffd}']);
        let is_begun = |key: &CheckpointKey| {
            let name = key.origin();
            name.starts_with(begun) || begun.strip_prefix(name).is_some_and(|rest| rest.starts_with('\n'))
        };
        MARK.starts_with(begun) || keys.iter().any(is_begun)
    }

    /// The text that is signed, including its last line end.
    fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }
}

/// The private key of a log.
pub struct CheckpointSigner {
    pair: Ed25519KeyPair,
    public: CheckpointKey,
}

impl fmt::Debug for CheckpointSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointSigner").field("public", &self.public).finish_non_exhaustive()
    }
}

impl CheckpointSigner {
    /// Reads a private key in PEM. `origin` is the name of the log; without one, the name follows from the key.
    ///
    /// # Errors
    /// `Private` or `Origin`.
    pub fn from_pem(pem: &str, origin: Option<&str>) -> Result<Self, CheckpointKeyError> {
        let der =
            PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| CheckpointKeyError::Private)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
            .map_err(|_| CheckpointKeyError::Private)?;
        let key: [u8; 32] = pair.public_key().as_ref().try_into().map_err(|_| CheckpointKeyError::Private)?;
        let name = origin.map_or_else(|| default_origin(&key), str::to_owned);
        let public = CheckpointKey::new(name, key).ok_or(CheckpointKeyError::Origin)?;
        Ok(Self { pair, public })
    }

    /// A new private key in PEM.
    ///
    /// # Errors
    /// `Random`.
    pub fn new_pem() -> Result<String, CheckpointKeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| CheckpointKeyError::Random)?;
        let der = pair.to_pkcs8v1().map_err(|_| CheckpointKeyError::Random)?;
        let text = STANDARD.encode(der.as_ref());
        Ok(format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"))
    }

    /// The public key.
    pub fn public(&self) -> &CheckpointKey {
        &self.public
    }

    /// A secret that follows from the key, for the digests of arguments. The key does not follow from it.
    pub(crate) fn derived_secret(&self) -> Option<[u8; 32]> {
        let private = self.pair.to_pkcs8v1().ok()?;
        let mut secret = [0; 32];
        let extracted = Salt::new(HKDF_SHA256, b"witgate-audit").extract(private.as_ref());
        extracted.expand(&[b"arguments"], HKDF_SHA256).ok()?.fill(&mut secret).ok()?;
        Some(secret)
    }

    /// A signed checkpoint, without an empty line at its end.
    pub fn sign(&self, size: u64, root: Hash) -> String {
        let NoteKey { name, id, .. } = &self.public.0;
        let body = Checkpoint { origin: name.clone(), size, root }.body();
        let signature = self.pair.sign(body.as_bytes());
        let signed = STANDARD.encode([id, signature.as_ref()].concat());
        format!("{body}\n{MARK}{name} {signed}\n")
    }
}

/// The public key of a log, in the form of signed notes: `NAME+ID+KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointKey(NoteKey);

impl fmt::Display for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for CheckpointKey {
    type Err = CheckpointKeyError;

    fn from_str(text: &str) -> Result<Self, CheckpointKeyError> {
        NoteKey::read(ED25519_NOTE, text).map(Self).ok_or(CheckpointKeyError::Public)
    }
}

impl CheckpointKey {
    fn new(name: String, key: [u8; 32]) -> Option<Self> {
        NoteKey::new(ED25519_NOTE, name, key).map(Self)
    }

    /// The name of the log.
    pub fn origin(&self) -> &str {
        &self.0.name
    }
}

/// A signature in a signed note.
pub(crate) struct NoteSignature<'n> {
    name: &'n str,
    id: [u8; 4],
    pub(crate) bytes: Vec<u8>,
}

impl<'n> NoteSignature<'n> {
    pub(crate) fn of(line: &'n str) -> Option<Self> {
        let (name, signed) = line.strip_prefix(MARK)?.split_once(' ')?;
        let signed = STANDARD.decode(signed).ok()?;
        let (id, bytes) = signed.split_first_chunk::<4>()?;
        (bytes.len() >= ED25519_LENGTH).then(|| Self { name, id: *id, bytes: bytes.to_vec() })
    }

    /// True if the signature says that it is by this key.
    pub(crate) fn is_by(&self, key: &NoteKey) -> bool {
        self.name == key.name && self.id == key.id
    }
}

/// True if a text has the form of a signed checkpoint. Its signatures are not checked.
pub(crate) fn is_whole(note: &str) -> bool {
    let signatures = note.split_once("\n\n").map(|(_, signatures)| signatures);
    let is_signed =
        signatures.is_some_and(|lines| lines.lines().all(|line| NoteSignature::of(line).is_some()));
    is_signed && Checkpoint::peek(note).is_some()
}

/// Reads a signed checkpoint, and checks that one of `keys` has signed it.
///
/// # Errors
/// If it is not a checkpoint, or not signed by these keys.
pub fn open(note: &str, keys: &[CheckpointKey]) -> Result<Checkpoint, CheckpointError> {
    let checkpoint = Checkpoint::peek(note).ok_or(CheckpointError::Form)?;
    let (body, signatures) = note.split_once("\n\n").ok_or(CheckpointError::Form)?;
    let body = format!("{body}\n");
    let mut error = CheckpointError::Signer;
    for line in signatures.lines() {
        let signature = NoteSignature::of(line).ok_or(CheckpointError::Form)?;
        let is_known = |key: &&CheckpointKey| signature.is_by(&key.0) && key.origin() == checkpoint.origin;
        if let Some(key) = keys.iter().find(is_known) {
            match key.0.has_signed(body.as_bytes(), &signature.bytes) {
                true => return Ok(checkpoint),
                false => error = CheckpointError::Signature,
            }
        }
    }
    Err(error)
}

/// A name that no other log has: a digest of its key.
fn default_origin(key: &[u8; 32]) -> String {
    let digest = digest(&SHA256, key);
    let short: Vec<u8> = digest.as_ref().iter().take(8).copied().collect();
    format!("witgate-audit/{}", hex::text(&short))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(origin: &str) -> CheckpointSigner {
        CheckpointSigner::from_pem(&CheckpointSigner::new_pem().unwrap(), Some(origin)).unwrap()
    }

    #[test]
    fn a_checkpoint_is_opened_by_its_key_alone() {
        let (own, other) = (signer("example.com/audit"), signer("example.com/audit"));
        let note = own.sign(17, [7; 32]);
        let public: CheckpointKey = own.public().to_string().parse().unwrap();
        assert_eq!(&public, own.public());
        let expected = Checkpoint { origin: "example.com/audit".to_owned(), size: 17, root: [7; 32] };
        assert_eq!(open(&note, &[other.public().clone(), public.clone()]), Ok(expected));
        assert_eq!(open(&note, &[other.public().clone()]), Err(CheckpointError::Signer));
        let keys = [public];
        assert_eq!(open(&note.replace("\n17\n", "\n18\n"), &keys), Err(CheckpointError::Signature));
        assert_eq!(open("example.com/audit\n17\n", &keys), Err(CheckpointError::Form));
        assert_eq!(open(&note.replace("\n17\n", "\n017\n"), &keys), Err(CheckpointError::Form));
    }

    #[test]
    fn the_name_of_a_log_follows_from_its_key() {
        let pem = CheckpointSigner::new_pem().unwrap();
        let (one, same) = (CheckpointSigner::from_pem(&pem, None), CheckpointSigner::from_pem(&pem, None));
        let (one, same) = (one.unwrap(), same.unwrap());
        assert_eq!(one.public(), same.public());
        assert!(one.public().origin().starts_with("witgate-audit/"), "{}", one.public());
        assert_eq!(one.derived_secret(), same.derived_secret());
        assert_ne!(one.derived_secret(), signer("x").derived_secret());
    }

    #[test]
    fn other_texts_are_not_keys() {
        for text in ["", "key", P384] {
            assert_eq!(CheckpointSigner::from_pem(text, None).unwrap_err(), CheckpointKeyError::Private);
        }
        let pem = CheckpointSigner::new_pem().unwrap();
        for origin in ["", "a b", "a+b", "ü", &"x".repeat(129)] {
            assert_eq!(
                CheckpointSigner::from_pem(&pem, Some(origin)).unwrap_err(),
                CheckpointKeyError::Origin
            );
        }
        let public = signer("x").public().to_string();
        for text in ["", "x", &public.replace('x', "y"), &public[..public.len() - 4]] {
            assert_eq!(text.parse::<CheckpointKey>(), Err(CheckpointKeyError::Public), "{text}");
        }
    }

    /// A key of another kind.
    const P384: &str = "-----BEGIN PRIVATE KEY-----\nMIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDAkE8gi00XO9tSL444P\ntAmalcss4I5jKDZYJ7rTNF8bqmRqQLu461PTadRCVyZU2yKhZANiAARAan6KeCEI\nMcaVLwHEqqtunek1Ik7HLZJXopW1tGpcETh6MOW3B7GIJ0KLlif21gQwfu+gPnaN\nN+06ZQGTW+hcqVsTVAhVHiRJfdELkBDAuVl5DL9xWZecc2aSSjCGJ8w=\n-----END PRIVATE KEY-----\n";
}
