//! Recognises credentials in a text, in all usual encodings. Recordings must not contain them. This module only
//! answers yes or no, and never returns a credential.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;
use witgate_plugin::Scheme;
use zeroize::Zeroizing;

/// Minimum length of a part. A shorter one may occur by accident.
const SHORTEST_PART: usize = 8;

/// Minimum length of a whole credential.
const SHORTEST: usize = 4;

/// Maximum depth of JSON within texts of JSON.
const DEEPEST: usize = 8;

/// The texts that would reveal the credentials of one request.
#[derive(Default)]
pub struct Traces(Vec<Zeroizing<String>>);

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Traces(****)")
    }
}

impl Traces {
    /// Adds a credential. A certificate is not secret.
    pub fn add(&mut self, scheme: Scheme, value: &str) {
        match scheme {
            Scheme::Certificate => {}
            Scheme::Basic => {
                self.add_text(value);
                let decoded = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                if let Some((_, password)) =
                    decoded.map(Zeroizing::new).as_deref().and_then(|text| text.split_once(':'))
                {
                    self.add_text(password);
                }
            }
            _ => self.add_text(value),
        }
    }

    /// Adds the text and each of its long parts, unchanged and in other encodings.
    pub fn add_text(&mut self, value: &str) {
        if value.len() >= SHORTEST {
            self.add_part(value);
        }
        let parts = value.split(['.', ':']).filter(|part| part.len() >= SHORTEST_PART && *part != value);
        parts.for_each(|part| self.add_part(part));
    }

    fn add_part(&mut self, part: &str) {
        let hex = part.bytes().map(|byte| format!("{byte:02x}")).collect();
        let percent = url::form_urlencoded::byte_serialize(part.as_bytes()).collect();
        let encoded = (0..3).flat_map(|before| {
            [base64(&STANDARD_NO_PAD, part, before), base64(&URL_SAFE_NO_PAD, part, before)]
        });
        for trace in [part.to_owned(), hex, percent].into_iter().chain(encoded) {
            let trace = Zeroizing::new(trace.to_ascii_lowercase());
            if trace.len() >= SHORTEST && !self.0.contains(&trace) {
                self.0.push(trace);
            }
        }
    }

    /// True if a value contains a credential or a part of one: in a name or a text, unchanged or as JSON writes it, or
    /// within a text that is JSON itself.
    pub fn are_in(&self, value: &Value) -> bool {
        self.are_within(value, DEEPEST)
    }

    fn are_within(&self, value: &Value, depth: usize) -> bool {
        match value {
            Value::Null | Value::Bool(_) => false,
            Value::Number(number) => self.are_in_text(&number.to_string(), 0),
            Value::String(text) => self.are_in_text(text, depth),
            Value::Array(items) => items.iter().any(|item| self.are_within(item, depth)),
            Value::Object(members) => members
                .iter()
                .any(|(name, value)| self.are_in_text(name, depth) || self.are_within(value, depth)),
        }
    }

    fn are_in_text(&self, text: &str, depth: usize) -> bool {
        let folded = Zeroizing::new(text.to_ascii_lowercase());
        if self.0.iter().any(|trace| folded.contains(trace.as_str())) {
            return true;
        }
        let is_json = depth > 0 && text.trim_start().starts_with(['{', '[', '"']);
        is_json && serde_json::from_str(text).is_ok_and(|inner| self.are_within(&inner, depth - 1))
    }
}

/// The characters that encode a text in base64 after a given number of other bytes (modulo three).
fn base64(engine: &impl base64::Engine, part: &str, before: usize) -> String {
    let padded = Zeroizing::new([[0; 3].get(..before).unwrap_or_default(), part.as_bytes()].concat());
    let encoded = engine.encode(padded.as_slice());
    // Each character has six bits, so the first and the last ones may contain bits of the neighbours.
    let first = (before * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    encoded.get(first..last).filter(|text| text.len() >= SHORTEST_PART).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "wg_AbC+dEf/GhIjKlMnOpQrStUvWxYz\"0123";

    fn traces() -> Traces {
        let mut traces = Traces::default();
        traces.add(Scheme::Header, KEY);
        traces.add(Scheme::Bearer, "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl");
        traces.add(Scheme::Basic, &STANDARD.encode("ada:correct horse"));
        traces
    }

    #[test]
    fn a_credential_is_found_in_every_encoding_and_depth() {
        let traces = traces();
        let inner = json!({ "deep": [{ "key": KEY }] }).to_string();
        let escaped: String = KEY.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        let hex: String = KEY.bytes().map(|byte| format!("{byte:02X}")).collect();
        let percent: String = url::form_urlencoded::byte_serialize(KEY.as_bytes()).collect();
        let mut values = vec![
            json!(KEY),
            json!({ KEY: 1 }),
            json!({ "arguments_text": inner }),
            json!({ "arguments_text": format!("{{\"key\":\"{escaped}\"}}") }),
            json!([format!("before {hex} after"), 1]),
            json!(percent.to_ascii_lowercase()),
            json!("x.eyJzdWIiOiJhZGEifQ.y"),
            json!("c2lnbmF0dXJl"),
            json!("the password is correct horse."),
            json!(json!(json!(inner).to_string()).to_string()),
        ];
        for before in ["", "a", "ab", "abc", "user:"] {
            for after in ["", "x", "xy"] {
                let text = format!("{before}{KEY}{after}");
                values.extend([json!(STANDARD.encode(&text)), json!(URL_SAFE_NO_PAD.encode(&text))]);
            }
        }
        for value in values {
            assert!(traces.are_in(&value), "{value}");
        }
    }

    #[test]
    fn ordinary_text_is_no_credential() {
        let traces = traces();
        for value in [
            json!(null),
            json!({ "text": "hello", "a": 2.5, "list": [true, "wg_"] }),
            json!("ada"),
            json!("{"),
        ] {
            assert!(!traces.are_in(&value), "{value}");
        }
        assert_eq!(format!("{traces:?}"), "Traces(****)");
        assert!(!Traces::default().are_in(&json!(KEY)));
    }
}
