//! Tokens of Fernet (github.com/fernet/spec), of which secrets are imported: AES-128-CBC, and HMAC-SHA256 over all of
//! it.

use aws_lc_rs::cipher::{AES_128, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// The version of every token.
const VERSION: u8 = 0x80;

/// The bytes before the encrypted text: version, time and initialization vector.
const HEAD: usize = 1 + 8 + 16;

/// The reason why a token cannot be decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FernetError {
    /// The key does not have 32 bytes in base64.
    #[error("this is not a key of Fernet: 32 bytes in base64")]
    Key,
    /// The text is not a token.
    #[error("this is not a token of Fernet")]
    Token,
    /// The token was made with another key, or was changed.
    #[error("it was encrypted with another key, or changed since")]
    Signature,
    /// The decrypted text is not UTF-8.
    #[error("the decrypted value is not text in UTF-8")]
    Text,
}

/// Decrypts a token. Its time does not count.
///
/// # Errors
/// If it was not made with this key.
pub fn decrypt(key: &str, token: &str) -> Result<Zeroizing<String>, FernetError> {
    let key = Zeroizing::new(bytes(key).ok_or(FernetError::Key)?);
    let (signing, encryption) = key.split_at_checked(16).ok_or(FernetError::Key)?;
    if encryption.len() != 16 {
        return Err(FernetError::Key);
    }
    let token = bytes(token).ok_or(FernetError::Token)?;
    let (signed, signature) = token.split_last_chunk::<32>().ok_or(FernetError::Token)?;
    let (head, encrypted) = signed.split_at_checked(HEAD).ok_or(FernetError::Token)?;
    if head.first() != Some(&VERSION) {
        return Err(FernetError::Token);
    }
    // Before anything is decrypted.
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, signing), signed, signature)
        .map_err(|_| FernetError::Signature)?;
    let vector = head.last_chunk::<16>().ok_or(FernetError::Token)?;
    let mut text = Zeroizing::new(encrypted.to_vec());
    let size = UnboundCipherKey::new(&AES_128, encryption)
        .and_then(PaddedBlockDecryptingKey::cbc_pkcs7)
        .and_then(|key| {
            key.decrypt(&mut text, DecryptionContext::Iv128(FixedLength::from(vector))).map(|text| text.len())
        })
        .map_err(|_| FernetError::Token)?;
    text.truncate(size);
    std::str::from_utf8(&text).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| FernetError::Text)
}

/// As [`decrypt`], also for a token that a program has encoded in base64 once more.
///
/// # Errors
/// As [`decrypt`].
pub fn decrypt_nested(key: &str, token: &str) -> Result<Zeroizing<String>, FernetError> {
    let inner = bytes(token).and_then(|inner| String::from_utf8(inner).ok());
    match inner.filter(|inner| bytes(inner).is_some_and(|inner| inner.first() == Some(&VERSION))) {
        Some(inner) => decrypt(key, &inner),
        None => decrypt(key, token),
    }
}

/// Bytes in base64, of either alphabet, with or without padding.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&URL_SAFE, config);
    let mut text = Zeroizing::new(text.trim().as_bytes().to_vec());
    for byte in text.iter_mut() {
        match byte {
            b'+' => *byte = b'-',
            b'/' => *byte = b'_',
            _ => {}
        }
    }
    engine.decode(text.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the specification (generate.json and invalid.json).
    const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
    const TOKEN: &str = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

    #[test]
    fn the_vectors_of_the_specification_are_decrypted_or_refused() {
        assert_eq!(decrypt(KEY, TOKEN).unwrap().as_str(), "hello");
        assert_eq!(decrypt(KEY, TOKEN.trim_end_matches('=')).unwrap().as_str(), "hello");
        for (token, error) in [
            (
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
                FernetError::Signature,
            ),
            ("gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==", FernetError::Token),
            (
                "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
                FernetError::Token,
            ),
            (
                "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm",
                FernetError::Token,
            ),
            ("", FernetError::Token),
            ("gAAA", FernetError::Token),
        ] {
            assert_eq!(decrypt(KEY, token).unwrap_err(), error, "{token}");
        }
    }

    #[test]
    fn a_token_in_base64_once_more_is_decrypted() {
        use base64::engine::general_purpose::STANDARD;
        assert_eq!(decrypt_nested(KEY, TOKEN).unwrap().as_str(), "hello");
        assert_eq!(decrypt_nested(KEY, &STANDARD.encode(TOKEN)).unwrap().as_str(), "hello");
        assert_eq!(decrypt_nested(KEY, "x").unwrap_err(), FernetError::Token);
    }

    #[test]
    fn another_key_or_a_changed_byte_is_refused() {
        assert_eq!(decrypt(&KEY.replace("cw", "dw"), TOKEN).unwrap_err(), FernetError::Signature);
        assert_eq!(decrypt("short", TOKEN).unwrap_err(), FernetError::Key);
        for place in 0..TOKEN.len() - 4 {
            let mut changed = TOKEN.to_owned().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(decrypt(KEY, &changed).is_err(), "{changed}");
        }
    }
}
