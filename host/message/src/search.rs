//! The search for credentials in a message: verbatim, or with the escapes of JSON in place of characters. Other
//! encodings are not found, such as base64 and percent signs, and neither is a text in several parts.

use std::cell::OnceCell;
use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::{self, Finder};

/// Minimum length of a credential that is searched. A shorter one may occur by accident.
const SHORTEST: usize = 8;

/// The bytes at the end of a credential that are searched first. The search for a short text needs no preparation, and
/// the ends of tokens differ more than their beginnings.
const TAIL: usize = 16;

/// The longest key, in bytes.
const LONGEST_KEY: usize = 512;

/// The length of a usual key: its prefix, and 32 bytes in base64url.
const USUAL_KEY: usize = 47;

/// Maximum number of texts in the form of a key. A message with more of them is no ordinary one, and each costs hashes.
const MOST_KEYS: usize = 16;

static LATIN_ESCAPE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(r"\u00"));
static SOLIDUS_ESCAPE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(r"\/"));

/// A message that is searched.
pub struct SearchedMessage<'a> {
    raw: &'a [u8],
    has_escapes: bool,
    /// The ASCII characters that are escaped by their number. Nearly all credentials consist of visible ASCII, and those
    /// without such a character can only be here verbatim: encoders escape `<`, `>`, `&` and the like.
    escaped: AsciiSet,
    plain: OnceCell<Vec<u8>>,
}

impl<'a> SearchedMessage<'a> {
    /// A message, which is valid JSON.
    pub fn new(raw: &'a [u8]) -> Self {
        // Most messages have no backslash, and the search for one character is cheap.
        let from_escape = memchr(b'\\', raw).and_then(|first| raw.get(first..));
        let escaped = from_escape.map(AsciiSet::escaped_in).unwrap_or_default();
        Self { raw, has_escapes: from_escape.is_some(), escaped, plain: OnceCell::new() }
    }

    /// True if the message contains `text`.
    pub fn has(&self, text: &str) -> bool {
        let text = text.as_bytes();
        if text.len() < SHORTEST || text.len() > self.raw.len() {
            return false;
        }
        let may_differ = self.escaped.has_one_of(text)
            || (self.has_escapes && text.iter().fold(false, |any, byte| any | needs_escape(*byte)))
            || (self.has_escapes && memchr(b'/', text).is_some() && SOLIDUS_ESCAPE.find(self.raw).is_some());
        contains(if may_differ { self.plain() } else { self.raw }, text)
    }

    /// True if the message contains a key: a text that begins with the `prefix` of keys and that `is_key` knows, or whose
    /// beginning of the usual length it knows. A message with very many such texts counts as one with a key.
    pub fn has_key(&self, prefix: &Finder<'_>, is_key: impl Fn(&str) -> bool) -> bool {
        let within = if self.escaped.has_one_of(OF_KEYS) { self.plain() } else { self.raw };
        let texts = prefix.find_iter(within).map(|place| {
            let rest = within.get(place..).unwrap_or_default();
            let length = rest.iter().take(LONGEST_KEY).take_while(|byte| is_of_key(**byte)).count();
            rest.get(..length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
        });
        let mut texts = texts.filter(|text| text.len() >= SHORTEST).enumerate();
        texts.any(|(number, text)| {
            let usual = text.get(..USUAL_KEY).filter(|usual| usual.len() < text.len());
            number >= MOST_KEYS || is_key(text) || usual.is_some_and(&is_key)
        })
    }

    /// The message with characters in place of their escapes.
    fn plain(&self) -> &[u8] {
        self.plain.get_or_init(|| without_escapes(self.raw))
    }
}

/// A set of ASCII characters, each as a bit.
#[derive(Clone, Copy, Default)]
struct AsciiSet(u128);

impl AsciiSet {
    /// `<`, `>` and `&`.
    const HTML: Self = Self(1 << b'<' | 1 << b'>' | 1 << b'&');

    /// The characters that are escaped by their number in a text, and possibly further ones.
    fn escaped_in(text: &[u8]) -> Self {
        let Some(text) = LATIN_ESCAPE.find(text).and_then(|first| text.get(first..)) else {
            return Self::default();
        };
        if !has_others_than_html(text) {
            return Self::HTML;
        }
        let numbers = LATIN_ESCAPE.find_iter(text).filter_map(|place| {
            let digits = text.get(place + 4..place + 6)?;
            digits.iter().try_fold(0, |number, digit| Some(16 * number + hex(*digit)?))
        });
        Self(numbers.fold(0, |set, number| set | 1_u128.checked_shl(number).unwrap_or(0)))
    }

    fn has_one_of(self, text: &[u8]) -> bool {
        let has = |byte: u8| 1_u128.checked_shl(byte.into()).is_some_and(|bit| self.0 & bit != 0);
        self.0 != 0 && text.iter().any(|byte| has(*byte))
    }
}

/// True if characters other than `<`, `>` and `&` are escaped by their number. Encoders that write JSON into HTML escape
/// these three, many of them in one text, and a loop without branches looks at 16 bytes at once.
fn has_others_than_html(text: &[u8]) -> bool {
    text.array_windows().fold(false, |any, [backslash, u, zero, _, high, low]| {
        let is_escape = (*backslash == b'\\') & (*u == b'u') & (*zero == b'0');
        let is_angle = (*high == b'3') & ((*low | 0x20 == b'c') | (*low | 0x20 == b'e'));
        let is_html = is_angle | ((*high == b'2') & (*low == b'6'));
        any | (is_escape & !is_html)
    })
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16)
}

/// True for the bytes of characters that JSON has to escape, or often does: all but visible ASCII.
fn needs_escape(byte: u8) -> bool {
    !(b' '..=b'~').contains(&byte) || byte == b'"' || byte == b'\\'
}

/// The characters of base64url, of which keys consist.
const OF_KEYS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn is_of_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn contains(within: &[u8], text: &[u8]) -> bool {
    let tail = text.get(text.len().saturating_sub(TAIL)..).unwrap_or_default();
    match memmem::find(within, tail) {
        None => false,
        Some(place) => {
            let before = within.get(..place + tail.len());
            before.is_some_and(|before| before.ends_with(text)) || memmem::find(within, text).is_some()
        }
    }
}

fn without_escapes(raw: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(place) = memchr(b'\\', rest) {
        let (before, escape) = rest.split_at(place);
        plain.extend_from_slice(before);
        let (text, length) = unescaped(escape);
        match u8::try_from(text) {
            Ok(ascii) if ascii.is_ascii() => plain.push(ascii),
            _ => plain.extend_from_slice(text.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        rest = escape.get(length..).unwrap_or_default();
    }
    plain.extend_from_slice(rest);
    plain
}

/// The character of the escape at the beginning of `text`, and the length of the escape.
fn unescaped(text: &[u8]) -> (char, usize) {
    match text.get(1) {
        Some(b'u') => unicode(text),
        Some(b'n') => ('\n', 2),
        Some(b't') => ('\t', 2),
        Some(b'r') => ('\r', 2),
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        // A quotation mark, a solidus or a backslash.
        Some(other) => (char::from(*other), 2),
        None => ('\\', 1),
    }
}

/// The same for an escape of four or, with surrogates, eight digits.
fn unicode(text: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        let digits = text.get(at..at + 4)?;
        let number = digits.iter().try_fold(0, |number, digit| Some(16 * number + hex(*digit)?))?;
        u16::try_from(number).ok()
    };
    let Some(first) = unit(2) else { return ('\\', 1) };
    let second = unit(8).filter(|_| text.get(6..8) == Some(br"\u".as_slice()));
    match (char::from_u32(first.into()), second) {
        (Some(character), _) => (character, 6),
        (None, Some(second)) => {
            let pair = char::decode_utf16([first, second]).next().and_then(Result::ok);
            pair.map_or((char::REPLACEMENT_CHARACTER, 6), |pair| (pair, 12))
        }
        (None, None) => (char::REPLACEMENT_CHARACTER, 6),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use witgate_testing::growth::assert_linear;

    use super::*;

    const KEY: &str = "wgk_AbCdEfGhIjKlMnOpQrStUvWxYz-0123456789_abcde";

    fn has(message: &str, text: &str) -> bool {
        SearchedMessage::new(message.as_bytes()).has(text)
    }

    fn escaped(text: &str) -> String {
        text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
    }

    #[test]
    fn a_credential_is_found_in_every_form_of_json() {
        for text in
            [KEY, "abc/def+ghi==", "with \"quotes\" and \\", "\u{e9}t\u{e9} \u{1f511} key", "12345678"]
        {
            let written = json!({ "a": [{ "b": format!("before {text} after") }] }).to_string();
            assert!(has(&written, text), "{written}");
            assert!(has(&written.replace('/', r"\/"), text), "{written}");
            assert!(has(&format!(r#"{{"{}":1}}"#, escaped(text)), text), "{text}");
            let half = text.char_indices().nth(4).unwrap().0;
            let mixed = format!(
                r#"["\n{}{}"]"#,
                escaped(&text[..half]),
                json!(&text[half..]).to_string().trim_matches('"')
            );
            assert!(has(&mixed, text), "{mixed}");
        }
        assert!(!has(r#"{"a":"wgk_AbCdEfGhIjKlMnOpQrStUvWxYz-0123456789_abcd"}"#, KEY));
        assert!(!has(r#"{"a":"of 7 characters: 1234567"}"#, "1234567"), "it is too short");
        assert!(!has("{}", KEY));
    }

    /// Encoders escape some visible characters: those of Go `<`, `>` and `&`, Gson `=` and `'`, too.
    #[test]
    fn a_credential_with_and_without_an_escaped_character_is_found() {
        for (written, text) in [
            (r#"{"a":"\u003cb\u003e 0123456789-_ABC"}"#, "0123456789-_ABC"),
            (r#"{"a":"\u003cb\u003e MDEyMzQ1Njc4OQ\u003d\u003d"}"#, "MDEyMzQ1Njc4OQ=="),
            (r#"{"a":"\u003Cb\u003E less\u003Cthan1"}"#, "less<than1"),
            (r#"{"a":"\\u0041BCDEFGH"}"#, r"\u0041BCDEFGH"),
            (r#"{"a":"\u003cb\u003e \u0030123456789-_ABC"}"#, "0123456789-_ABC"),
            (r#"{"a":"\u0026\u00260123456789\u0026ABC"}"#, "0123456789&ABC"),
        ] {
            assert!(has(written, text), "{written}");
        }
        let prefix = Finder::new("wgk_");
        for message in [format!(r#"["\u003c{KEY}\u003e"]"#), format!(r#"["\u003c\u0077{}"]"#, &KEY[1..])] {
            let message = SearchedMessage::new(message.as_bytes());
            assert!(message.has_key(&prefix, |text| text == KEY));
        }
    }

    #[test]
    fn the_whole_text_counts_and_not_only_its_end() {
        let text = "a-0123456789abcdef";
        assert!(!has(r#""b-0123456789abcdef""#, text));
        assert!(has(r#""b-0123456789abcdef a-0123456789abcdef""#, text));
    }

    #[test]
    fn keys_are_found_by_their_prefix() {
        let prefix = Finder::new("wgk_");
        let has_key =
            |message: &str| SearchedMessage::new(message.as_bytes()).has_key(&prefix, |text| text == KEY);
        assert!(has_key(&format!(r#"{{"a":"{KEY}"}}"#)));
        assert!(has_key(&format!(r#"["wgk_other","x={KEY}&y"]"#)));
        assert!(has_key(&format!(r#"["{}"]"#, escaped(KEY))));
        assert!(has_key(&format!(r#"["{KEY}_x"]"#)), "a part of a longer text");
        assert!(has_key(&format!(r#"["wgk_{KEY}"]"#)));
        assert!(!has_key(&format!(r#"["{}"]"#, &KEY[..46])));
        assert!(!has_key(r#"["wgk_","wgk_other"]"#));
        assert!(!has_key(&format!("[\"{}\"]", "wgk_other ".repeat(MOST_KEYS))));
        assert!(has_key(&format!("[\"{}\"]", "wgk_other ".repeat(MOST_KEYS + 1))), "nobody sends so many");
        assert!(!has_key(&format!("[\"{}\"]", "wgk_ ".repeat(MOST_KEYS + 1))), "the prefix alone is no key");
    }

    proptest! {
        /// Each character is written verbatim, or by its number.
        #[test]
        fn a_text_is_found_however_its_characters_are_written(
            text in "[!-~]{8,20}",
            around in "[ -~]{0,20}",
            escapes in proptest::collection::vec(any::<bool>(), 60),
        ) {
            let whole = format!("{around}{text}{around}");
            let written: String = whole.chars().zip(escapes).map(|(c, is_escaped)| match is_escaped {
                true => escaped(&c.to_string()),
                false => {
                    let json = json!(c.to_string()).to_string();
                    json[1..json.len() - 1].to_owned()
                }
            }).collect();
            prop_assert!(has(&format!("[\"{written}\"]"), &text), "{}", written);
        }

        #[test]
        fn escapes_are_those_of_json(text in "\\PC{0,40}", blank in "[\\n\\t\"\\\\/\u{1}]{0,3}") {
            let text = format!("{text}{blank}");
            let written = json!(text).to_string();
            prop_assert_eq!(without_escapes(written.as_bytes()), format!("\"{text}\"").into_bytes());
            prop_assert_eq!(without_escapes(escaped(&text).as_bytes()), text.into_bytes());
        }
    }

    /// The name of a case, and the function that makes a message of a given size.
    type Case = (&'static str, fn(usize) -> String);

    #[test]
    fn the_search_is_linear() {
        let prefix = Finder::new("wgk_");
        let texts: [Case; 5] = [
            ("ends of a key", |n| "6789_abcde".repeat(n)),
            ("keys", |n| "wgk_".repeat(n)),
            ("escapes", |n| r"\u0077\/\n".repeat(n)),
            ("halves of a pair", |n| r"\ud83d".repeat(n)),
            ("one letter", |n| "a".repeat(n)),
        ];
        let long = "a".repeat(5000);
        for (name, text) in texts {
            assert_linear(name, 20_000, text, |message| {
                let message = SearchedMessage::new(message.as_bytes());
                _ = (message.has(KEY), message.has(&long), message.has_key(&prefix, |text| text == KEY));
            });
        }
    }
}
