//! The payload: chunks of 64 KiB, each with a tag and a number, so that none can be changed, moved or cut off.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use zeroize::Zeroizing;

use super::error::AgeError;
use super::file_key::{FileKey, derived};

/// The size of all chunks but the last one, in bytes, without the tag.
const CHUNK: usize = 64 << 10;

const TAG: usize = 16;

/// The length of the random bytes at the beginning.
const SALT: usize = 16;

/// Encrypts `text`, and appends it to the header in `file`.
pub(super) fn encrypt(key: &FileKey, text: &[u8], file: &mut Vec<u8>) -> Result<(), Unspecified> {
    let mut salt = [0; SALT];
    aws_lc_rs::rand::fill(&mut salt)?;
    file.extend_from_slice(&salt);
    let key = payload_key(key, &salt)?;
    let last = text.len().saturating_sub(1) / CHUNK;
    let mut chunks = text.chunks(CHUNK);
    for number in 0..=last {
        let mut chunk = Zeroizing::new(Vec::with_capacity(CHUNK + TAG));
        chunk.extend_from_slice(chunks.next().unwrap_or_default());
        key.seal_in_place_append_tag(nonce(number, number == last), Aad::empty(), &mut *chunk)?;
        file.extend_from_slice(&chunk);
    }
    Ok(())
}

/// Decrypts a payload.
pub(super) fn decrypt(key: &FileKey, payload: &[u8]) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let damaged = |Unspecified| AgeError::Payload;
    let (salt, chunks) = payload.split_first_chunk::<SALT>().ok_or(AgeError::Header)?;
    let key = payload_key(key, salt).map_err(damaged)?;
    let last = chunks.len().checked_sub(1).ok_or(AgeError::Payload)? / (CHUNK + TAG);
    // With its final size, because growing would leave copies in memory.
    let mut text = Zeroizing::new(Vec::with_capacity(chunks.len()));
    for (number, chunk) in chunks.chunks(CHUNK + TAG).enumerate() {
        let begin = text.len();
        text.extend_from_slice(chunk);
        let place = text.get_mut(begin..).unwrap_or_default();
        let opened = key.open_in_place(nonce(number, number == last), Aad::empty(), place);
        let size = opened.map_err(damaged)?.len();
        // Only a file without content ends with an empty chunk.
        if size == 0 && number > 0 {
            return Err(AgeError::Payload);
        }
        text.truncate(begin + size);
    }
    Ok(text)
}

fn payload_key(key: &FileKey, salt: &[u8; SALT]) -> Result<LessSafeKey, Unspecified> {
    let key = derived(key.as_slice(), salt, b"payload")?;
    UnboundKey::new(&CHACHA20_POLY1305, key.as_slice()).map(LessSafeKey::new)
}

/// The number of a chunk, and whether it is the last one.
fn nonce(number: usize, is_last: bool) -> Nonce {
    let mut nonce = [0; 12];
    if let Some((_, [place @ .., last])) = nonce.split_first_chunk_mut::<3>() {
        place.copy_from_slice(&(number as u64).to_be_bytes());
        *last = u8::from(is_last);
    }
    Nonce::assume_unique_for_key(nonce)
}
