//! The digests of the keys of an `api-key` policy, by which a key is recognised in a message that it does not belong in.

use serde_json::Value;
use witgate_config::PolicyKind;
use witgate_plugin::Digest;

pub use witgate_api_key::store::KEY_PREFIX;

/// The digests, in order.
#[derive(Debug, Default)]
pub struct KnownKeys(Box<[Digest]>);

impl KnownKeys {
    /// Those in the `settings` of a policy. Policies of other kinds have none.
    pub(super) fn of(kind: PolicyKind, settings: &Value) -> Self {
        if kind != PolicyKind::ApiKey {
            return Self::default();
        }
        // The file of operators, and that of the keys of users.
        let files = ["store", "owned"].into_iter().filter_map(|name| settings.get(name)?.as_str());
        let configured = settings.get("keys").and_then(Value::as_array).into_iter().flatten();
        let configured = configured.filter_map(|key| key.get("key")?.as_str());
        let mut digests: Vec<_> = files.chain(configured).flat_map(digests).collect();
        digests.sort_unstable();
        digests.dedup();
        Self(digests.into())
    }

    /// True if this is the SHA-256 digest of one of the keys. An expired or revoked one counts as well.
    pub fn has(&self, digest: &Digest) -> bool {
        self.0.binary_search(digest).is_ok()
    }

    /// True if there are no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The texts of 64 hexadecimal digits. In a store, no other text has this form, and nobody can find a text with a given
/// digest, so the store need not be parsed a second time.
fn digests(text: &str) -> impl Iterator<Item = Digest> {
    let words = text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 64);
    words.filter_map(|word| {
        let mut digest = Digest::default();
        for (byte, pair) in digest.iter_mut().zip(word.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(digest)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use witgate_base::digest::sha256;

    use super::*;

    #[test]
    fn keys_of_the_store_of_users_and_of_the_settings_are_known() {
        let hex =
            |text: &str| sha256(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let store = format!(
            "version = 1\n[[keys]]\nsha256 = \"{}\"\nrevoked = 2026-01-01T00:00:00Z\nprevious = {{ sha256 = '{}' }}\n",
            hex("new"),
            hex("old").to_uppercase(),
        );
        let owned = format!("version = 1\n[[keys]]\nsha256 = \"{}\"\nowner = \"u1\"\n", hex("owned"));
        let configured = json!([{ "name": "a", "key": hex("configured") }]);
        let settings = json!({ "store": store, "owned": owned, "keys": configured });
        let keys = KnownKeys::of(PolicyKind::ApiKey, &settings);
        let has = |key: &str| keys.has(&sha256(key.as_bytes()));
        assert_eq!(["new", "old", "configured", "owned"].map(has), [true; 4]);
        assert!(!has("other"));
        // A policy may be for the keys of users alone.
        let keys = KnownKeys::of(PolicyKind::ApiKey, &json!({ "owned": owned }));
        assert!(keys.has(&sha256(b"owned")));
        assert!(!keys.is_empty() && KnownKeys::of(PolicyKind::Custom, &settings).is_empty());
    }
}
