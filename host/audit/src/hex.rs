//! Hexadecimal text, in lower case.

const DIGITS: [u8; 16] = *b"0123456789abcdef";

/// The text of some bytes.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| digits(*byte)).map(char::from).collect()
}

/// Appends the text of a hash.
pub(crate) fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.iter().flat_map(|byte| digits(*byte)));
}

/// True if `text` is the text of `bytes`.
pub(crate) fn is_text_of(text: &[u8], bytes: &[u8]) -> bool {
    text.len() == 2 * bytes.len() && bytes.iter().flat_map(|byte| digits(*byte)).eq(text.iter().copied())
}

/// The hash with this text.
pub(crate) fn hash(text: &[u8]) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != hash.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(hash)
}

fn digits(byte: u8) -> [u8; 2] {
    let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or(b'0');
    [digit(byte >> 4), digit(byte & 15)]
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_from_its_text() {
        let mut bytes = [0; 32];
        (0..).zip(&mut bytes).for_each(|(number, byte)| *byte = 251_u8.wrapping_mul(number));
        let text = text(&bytes);
        assert_eq!(hash(text.as_bytes()), Some(bytes));
        assert!(is_text_of(text.as_bytes(), &bytes) && !is_text_of(text.as_bytes(), &[1; 32]));
        for other in [&text[1..], &text.to_uppercase(), &text.replace('0', "g"), ""] {
            assert_eq!(hash(other.as_bytes()), None, "{other}");
        }
    }
}
