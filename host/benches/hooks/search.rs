//! The search for credentials in the arguments of a call.

use std::hint::black_box;

use criterion::Throughput;
use memchr::memmem::Finder;
use serde_json::json;
use witgate_message::search::SearchedMessage;
use witgate_policy::known_keys::KEY_PREFIX;

use crate::Bench;
use crate::scene::PASSWORD;

/// The name of a kind of arguments, and the function that makes about so many bytes of it.
type Kind = (&'static str, fn(usize) -> String);

const KINDS: [Kind; 4] = [
    ("prose", |size| "An item of an area of a service, as it was last written. ".repeat(size / 56)),
    ("code", |size| "    if (items[at] != \"none\") {\n        return items[at];\n    }\n".repeat(size / 64)),
    ("HTML", |size| {
        "<p>An item of an area of a service, as it was last written &amp; read.</p>\n".repeat(size / 88)
    }),
    ("tokens", |size| "wgx_0123456789abcdefghijklmnopqrstuvwxyzABCDEF,".repeat(size / 47)),
];

/// The credential of a caller: a key, or a password.
const SHOWN: [(&str, &[&str]); 2] =
    [("key", &["wgk_AbCdEfGhIjKlMnOpQrStUvWxYz-0123456789_abcde"]), ("password", &[BASIC, PASSWORD])];

/// The text after `Basic`.
const BASIC: &str = "dXNlci03OmNvcnJlY3QgaG9yc2U=";

/// Looks for the credential of the caller, and for keys of others, as the flow does for each call.
pub(crate) fn credentials(bench: &mut Bench) {
    let prefix = Finder::new(KEY_PREFIX);
    let mut group = bench.benchmark_group("search");
    for (shown, texts) in SHOWN {
        for (kind, make) in KINDS {
            for kib in [1, 10, 100] {
                let message = written(&make(kib << 10));
                group.throughput(Throughput::Bytes(message.len() as u64));
                group.bench_function(format!("{shown} in {kib} KiB of {kind}"), |b| {
                    b.iter(|| assert!(!is_found(black_box(message.as_bytes()), texts, &prefix)));
                });
            }
        }
    }
}

/// The arguments with a text, as encoders write them that escape the characters of HTML.
fn written(text: &str) -> String {
    let message = json!({ "arguments": { "text": text } }).to_string();
    message.replace('<', r"\u003c").replace('>', r"\u003e").replace('&', r"\u0026")
}

fn is_found(message: &[u8], texts: &[&str], prefix: &Finder<'_>) -> bool {
    let message = SearchedMessage::new(message);
    texts.iter().any(|text| message.has(text)) || message.has_key(prefix, |_| false)
}
