//! The times at which the keys of an `api-key` policy expire, so that operators learn about it before their callers do.

use serde_json::Value;
use witgate_api_key::store::Store;

use witgate_config::PolicyKind;

/// The times in seconds since the Unix epoch, in order, of the keys that are not revoked. Those that users have made do
/// not count: everybody could cause an alert with a short one, and their owners see the ends on the page of keys.
#[derive(Debug, Default)]
pub struct KeyExpiries(Vec<u64>);

impl KeyExpiries {
    /// Those of the store in the `settings` of a policy. Policies of other kinds have none.
    pub(super) fn of(kind: PolicyKind, settings: &Value) -> Self {
        let text = settings.get("store").and_then(Value::as_str).filter(|_| kind == PolicyKind::ApiKey);
        // Most stores have no such key, and are not read a second time.
        let store = text.filter(|text| text.contains("expires")).and_then(|text| Store::parse(text).ok());
        let keys = store.iter().flat_map(|store| &store.keys).filter(|key| key.revoked.is_none());
        let mut times: Vec<u64> = keys.filter_map(|key| Some(key.expires?.0)).collect();
        times.sort_unstable();
        Self(times)
    }

    /// The next time after `now` at which a key expires.
    pub fn next(&self, now: u64) -> Option<u64> {
        self.0.get(self.0.partition_point(|time| *time <= now)).copied()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_next_expiry_is_that_of_a_valid_key() {
        let key = |id: &str, rest: &str| {
            let sha256 = id.repeat(64);
            format!(
                "[[keys]]\nname = '{id}'\nid = '{id}'\nsha256 = '{sha256}'\ncreated = 1970-01-01T00:00:00Z\n{rest}\n"
            )
        };
        let text = [
            "version = 1\n".to_owned(),
            key("a", "expires = 1970-01-01T00:00:30Z"),
            key("b", "expires = 1970-01-01T00:00:10Z"),
            key("c", "expires = 1970-01-01T00:00:20Z\nrevoked = 1970-01-01T00:00:01Z"),
            key("d", ""),
        ]
        .concat();
        let settings =
            json!({ "store": text, "owned": key("e", "expires = 1970-01-01T00:00:05Z\nowner = 'u1'") });
        let expiries = KeyExpiries::of(PolicyKind::ApiKey, &settings);
        assert_eq!([0, 10, 30].map(|now| expiries.next(now)), [Some(10), Some(30), None]);
        assert_eq!(KeyExpiries::of(PolicyKind::Custom, &settings).next(0), None);
    }
}
