//! The headers in which proxies name the client: `X-Forwarded-For` and `Forwarded` (RFC 7239, section 4).

use std::borrow::Cow;

use super::node::Node;

/// The nodes in one line of `X-Forwarded-For`, not parsed yet.
pub(super) fn addresses(line: &str) -> Option<Vec<Node<'_>>> {
    Some(line.split(',').map(|part| Node(Cow::Borrowed(part.trim_matches([' ', '\t'])))).collect())
}

/// The `for` parameter of each element in one line of `Forwarded`. None: the line is malformed, or an element has no
/// `for` or two.
pub(super) fn elements(line: &str) -> Option<Vec<Node<'_>>> {
    let mut rest = line;
    let mut nodes = Vec::new();
    loop {
        let (node, after) = element(rest.trim_start_matches([' ', '\t']))?;
        nodes.push(node);
        rest = after.trim_start_matches([' ', '\t']);
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return rest.is_empty().then_some(nodes),
        }
    }
}

/// Parses one element. Returns the text after it as well.
fn element(text: &str) -> Option<(Node<'_>, &str)> {
    let (mut node, mut rest) = (None, text);
    loop {
        let (name, after) = token(rest)?;
        let (value, after) = value(after.strip_prefix('=')?)?;
        if name.eq_ignore_ascii_case("for") && node.replace(Node(value)).is_some() {
            return None;
        }
        match after.strip_prefix(';') {
            Some(next) => rest = next,
            None => return Some((node?, after)),
        }
    }
}

fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    match text.strip_prefix('"') {
        Some(quoted) => unquoted(quoted),
        None => token(text).map(|(token, rest)| (token.into(), rest)),
    }
}

/// The text before the closing quote, and the rest after the quote.
fn unquoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value.into(), text.get(at + 1..)?)),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

fn token(text: &str) -> Option<(&str, &str)> {
    let is_tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_tchar(c)).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(token, _)| !token.is_empty())
}
