//! A look at JSON that owes nothing to the parsers under test: how deep it goes, and whether an
//! object has a key twice. It takes for granted that the text is JSON.

use std::collections::HashSet;

/// The result of a scan.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The nesting of arrays and objects.
    pub(crate) depth: usize,
    /// A key that an object has twice.
    pub(crate) twice: Option<String>,
    /// A key that an object has twice, in whatever case.
    pub(crate) alike: Option<String>,
    /// The keys of the outermost object, in their order.
    pub(crate) keys: Vec<String>,
}

/// Scans a text that is JSON.
pub(crate) fn scan(text: &str) -> Scan {
    let mut scan = Scan::default();
    // The keys of each object that is open; none for an array.
    let mut open: Vec<Option<[HashSet<String>; 2]>> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        match first {
            '{' => open.push(Some(<[HashSet<String>; 2]>::default())),
            '[' => open.push(None),
            '}' | ']' => drop(open.pop()),
            '"' => {
                length = string_length(rest);
                let (literal, after) = rest.split_at(length);
                if after.trim_start().starts_with(':') {
                    let key: String = serde_json::from_str(literal).expect("a key is a string");
                    if open.len() == 1 {
                        scan.keys.push(key.clone());
                    }
                    let [keys, lower] =
                        open.last_mut().and_then(Option::as_mut).expect("a key is in an object");
                    if !lower.insert(key.to_lowercase()) {
                        scan.alike = Some(key.clone());
                    }
                    if !keys.insert(key.clone()) {
                        scan.twice = Some(key);
                    }
                }
            }
            _ => {}
        }
        scan.depth = scan.depth.max(open.len());
        rest = &rest[length..];
    }
    scan
}

/// The bytes of the string literal that `text` begins with, its quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::scan;

    #[test]
    fn a_duplicate_key_is_found_in_every_notation() {
        assert_eq!(scan(r#"{"a":1,"b":{"a":[{"a":":"}]}}"#).twice, None);
        assert_eq!(scan(r#"{"a":[{"b":1,"\u0062":2}]}"#).twice.as_deref(), Some("b"));
        assert_eq!(scan(r#"["a","a"]"#).twice, None);
    }

    #[test]
    fn brackets_in_strings_do_not_count_as_depth() {
        assert_eq!(scan(r#"{"[":"{\"[","]":[[1]]}"#).depth, 3);
        assert_eq!(scan("1").depth, 0);
    }
}
