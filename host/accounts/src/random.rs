//! Random values.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::AccountsError;

/// Random bytes.
///
/// # Errors
/// `Randomness`.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], AccountsError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| AccountsError::Randomness)?;
    Ok(bytes)
}

/// A text of 256 random bits.
///
/// # Errors
/// `Randomness`.
pub(crate) fn text() -> Result<String, AccountsError> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<32>()?))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
