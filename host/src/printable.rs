//! What somebody else says, as an operator may see it.

/// Text from a plugin or an upstream, fit for the operator's terminal: no control characters, and
/// not longer than 1,024 bytes.
pub(crate) fn clean(text: &str) -> String {
    const LONGEST: usize = 1024;
    let mut cleaned = String::with_capacity(text.len().min(LONGEST));
    for c in text.chars() {
        if cleaned.len() + c.len_utf8() > LONGEST {
            cleaned.push('…');
            break;
        }
        let invisible = c.is_control()
            || ('\u{200b}'..='\u{200f}').contains(&c)
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c);
        cleaned.push(if invisible { '\u{fffd}' } else { c });
    }
    cleaned
}
