//! The armor: the file as text in ASCII, in the form of PEM.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::AgeError;

const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const END: &str = "-----END AGE ENCRYPTED FILE-----";

/// The length of all lines but the last one.
const COLUMNS: usize = 64;

/// The bytes of a full line.
const LINE: usize = COLUMNS / 4 * 3;

pub(super) fn encode(file: &[u8]) -> String {
    let mut text = String::with_capacity(file.len() / LINE * (COLUMNS + 1) + 4 * COLUMNS);
    let lines = file.chunks(LINE).map(|line| STANDARD.encode(line));
    for line in [BEGIN.to_owned()].into_iter().chain(lines).chain([END.to_owned()]) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The file in an armor. White space may stand around the armor, and nowhere else.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, AgeError> {
    let lines = text.trim_ascii().split(|byte| *byte == b'\n');
    let mut lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    if lines.next() != Some(BEGIN.as_bytes()) {
        return Err(AgeError::Armor);
    }
    let (mut file, mut is_last) = (Vec::with_capacity(text.len() / 4 * 3), false);
    for line in lines.by_ref() {
        if line == END.as_bytes() {
            return lines.next().map_or(Ok(file), |_| Err(AgeError::Armor));
        }
        if is_last || line.is_empty() || line.len() > COLUMNS {
            return Err(AgeError::Armor);
        }
        let bytes = STANDARD.decode(line).map_err(|_| AgeError::Armor)?;
        is_last = bytes.len() < LINE;
        file.extend_from_slice(&bytes);
    }
    Err(AgeError::Armor)
}
