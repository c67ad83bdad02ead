//! The reasons why a file cannot be decrypted.

/// The reason why a file cannot be decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::secret_store) enum AgeError {
    /// The armor, or the file is none of age.
    #[error("is not a file of age, or is cut off")]
    Armor,
    /// The header.
    #[error("has no valid header of age, or is cut off")]
    Header,
    /// The header has more recipients than a store may have.
    #[error("has more than 256 recipients")]
    Recipients,
    /// The header has no recipient whose identity is there.
    #[error("is encrypted for another identity")]
    NoMatch,
    /// The MAC of the header.
    #[error("has a header that was changed")]
    Mac,
    /// The payload.
    #[error("was changed, or is cut off")]
    Payload,
}
