//! The strings in a JSON text, decoded one by one, so that large arguments need no more memory than their longest
//! string.

use std::borrow::Cow;

/// Every string of a JSON text that the host has parsed strictly: values and names of members.
pub(crate) struct Texts<'a> {
    rest: &'a str,
}

impl<'a> Texts<'a> {
    pub(crate) fn of(json: &'a str) -> Self {
        Self { rest: json }
    }
}

impl<'a> Iterator for Texts<'a> {
    /// None: the string cannot be decoded.
    type Item = Option<Cow<'a, str>>;

    fn next(&mut self) -> Option<Self::Item> {
        let (_, literal) = self.rest.split_once('"')?;
        let mut is_escaped = false;
        let end = literal.bytes().position(|byte| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        });
        let Some((text, rest)) = end.and_then(|end| literal.split_at_checked(end)) else {
            self.rest = "";
            return Some(None);
        };
        self.rest = rest.strip_prefix('"').unwrap_or_default();
        Some(match text.contains('\\') {
            false => Some(Cow::Borrowed(text)),
            true => serde_json::from_str(&format!("\"{text}\"")).ok().map(Cow::Owned),
        })
    }
}
