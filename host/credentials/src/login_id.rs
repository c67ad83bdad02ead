//! The id of a login.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use witgate_base::digest::sha256;
use witgate_plugin::Digest;

/// The id of one login of a person. It stays the same through all renewals of its tokens, and no other login has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LoginId(Digest);

impl LoginId {
    /// The id of a new login: 256 random bits.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut id = Digest::default();
        getrandom::fill(&mut id)?;
        Ok(Self(id))
    }

    /// The id of a login that was stored without one. It is different for different `parts`.
    pub(crate) fn of_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut bytes = b"witgate login 1".to_vec();
        for part in parts {
            bytes.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        Self(sha256(&bytes))
    }

    /// The id in a stored text. None: the text is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// The text for the store.
    pub(crate) fn text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for LoginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginId(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written() {
        let id = LoginId::random().unwrap();
        assert_eq!(LoginId::parse(&id.text()), Some(id));
        assert_ne!(LoginId::random().unwrap(), id);
        for wrong in ["", "AAAA", "!", &id.text()[1..]] {
            assert_eq!(LoginId::parse(wrong), None, "{wrong}");
        }
        assert!(!format!("{id:?}").contains(&id.text()));
    }

    #[test]
    fn different_logins_without_an_id_get_different_ones() {
        let ids = [&["a", "b"][..], &["ab"], &["a", "", "b"], &["b", "a"], &[]];
        let ids = ids.map(|parts| LoginId::of_parts(parts.iter().copied()).text());
        let apart: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(apart.len(), ids.len());
        assert_eq!(LoginId::of_parts(["a", "b"]).text(), ids[0]);
    }
}
