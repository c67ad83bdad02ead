//! The reason why a text is no key of a store. It tells the length of the text and known beginnings, and nothing else
//! of the text.

use witgate_api_key::store::{KEY_PREFIX, Store, StoredKey};

use super::{ConfiguredKey, SHORTEST_KEY, sha256};

/// The length of a Witgate key.
const WITGATE_KEY: usize = KEY_PREFIX.len() + 43;

/// Beginnings of keys and tokens of other services.
const FOREIGN: [&str; 8] = ["sk-", "sk_", "ghp_", "gho_", "github_pat_", "xoxb-", "AKIA", "eyJ"];

/// The entry with the digest of `text`, and whether it is the text before a rotation.
pub fn entry_of<'s>(store: &'s Store, text: &str) -> Option<(&'s StoredKey, bool)> {
    let digest = sha256(text);
    let is_previous = |key: &StoredKey| key.previous.as_ref().is_some_and(|former| former.sha256 == digest);
    let known = store.keys.iter().find(|key| key.sha256 == digest || is_previous(key))?;
    Some((known, known.sha256 != digest))
}

/// The key of the configuration with the digest of `text`.
pub fn configured<'k>(keys: &'k [ConfiguredKey], text: &str) -> Option<&'k ConfiguredKey> {
    let digest = sha256(text);
    keys.iter().find(|key| key.sha256 == Some(digest))
}

/// Says why `text` is no key of `store`.
pub fn unknown(store: &Store, text: &str) -> String {
    let mut parts = vec![shape(text)];
    let bare = bare(text);
    if let Some((key, _)) = entry_of(store, bare).filter(|_| bare != text) {
        parts.push(format!("without these characters it is the key `{}`", key.name));
    }
    // A digest of a short text would help to guess it.
    if text.chars().count() >= SHORTEST_KEY {
        let digest = String::from(sha256(text));
        parts.push(format!("its SHA-256 begins with {}", digest.get(..8).unwrap_or_default()));
    }
    parts.join("; ")
}

/// The form of a text, in a sentence without the text.
pub fn shape(text: &str) -> String {
    let length = text.chars().count();
    let mut parts = vec![format!("{length} characters")];
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        parts.push("a blank or line break at an end".to_owned());
    }
    let trimmed = text.trim();
    if trimmed.starts_with(['"', '\'']) || trimmed.ends_with(['"', '\'']) {
        parts.push("quotes around it".to_owned());
    }
    let bare = bare(text);
    if bare.starts_with(KEY_PREFIX) {
        parts.push(format!("begins with `{KEY_PREFIX}`"));
        match bare.chars().count().cmp(&WITGATE_KEY) {
            std::cmp::Ordering::Less => {
                parts.push("shorter than the usual Witgate key: is it complete?".to_owned())
            }
            std::cmp::Ordering::Greater => parts.push("longer than the usual Witgate key".to_owned()),
            std::cmp::Ordering::Equal => {}
        }
    } else if let Some(foreign) = FOREIGN.iter().find(|beginning| bare.starts_with(**beginning)) {
        parts.push(format!("begins with `{foreign}`, as keys of other services do"));
    }
    parts.join(", ")
}

/// The text without blanks, `Bearer ` and quotes around it.
fn bare(text: &str) -> &str {
    let text = text.trim().trim_matches(['"', '\'']).trim();
    text.strip_prefix("Bearer ").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_shape_names_the_usual_mistakes() {
        let key = format!("{KEY_PREFIX}{}", "x".repeat(43));
        let cut = key.get(..46).unwrap();
        for (text, said) in [
            (cut, "shorter than the usual"),
            (&format!("\"{key}\""), "quotes around it"),
            (&format!("{key} "), "a blank or line break"),
            ("sk-proj-sesame", "begins with `sk-`"),
            ("", "0 characters"),
        ] {
            assert!(shape(text).contains(said), "{}", shape(text));
        }
        assert_eq!(shape(&key), "47 characters, begins with `wgk_`");
    }

    proptest! {
        #[test]
        fn a_diagnosis_shows_nothing_of_the_text(text in "[Q-Z]{9,60}") {
            let said = unknown(&Store::default(), &text);
            let is_shown = (0..text.len() - 3).any(|at| said.contains(&text[at..at + 4]));
            prop_assert!(!is_shown, "{said}");
        }
    }
}
