//! API keys: from a store of hashed keys to an identity, and each key's own patterns.
