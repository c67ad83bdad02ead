//! SHA-256 digests, and their text form.

use aws_lc_rs::digest::SHA256;
use witgate_plugin::Digest;

/// SHA-256 of `data`.
pub fn sha256(data: &[u8]) -> Digest {
    let mut bytes = Digest::default();
    for (byte, from) in bytes.iter_mut().zip(aws_lc_rs::digest::digest(&SHA256, data).as_ref()) {
        *byte = *from;
    }
    bytes
}

/// A digest for people: `sha256:` and 64 hexadecimal digits.
pub fn digest_text(digest: &Digest) -> String {
    use std::fmt::Write as _;
    digest.iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The digest in a text of [`digest_text`]. None: the text is not a digest.
pub fn digest_of(text: &str) -> Option<Digest> {
    let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64)?;
    let mut digest = Digest::default();
    for (byte, at) in digest.iter_mut().zip((0..).step_by(2)) {
        let pair = digits.get(at..at + 2).filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(digest)
}
