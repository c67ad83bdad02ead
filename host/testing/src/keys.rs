//! Keys for tests, which are public and protect nothing.

/// A private key on the curve P-256.
pub const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgYdULgdrCzEJ80ISu\nAcZXwaeNgh6GN7bBi5h5p3tHlO6hRANCAAQJlW+9wDkq54+5bp84qtCPhBuTijSy\nUoo2ZX1G7dnZZWRgienoEOM2zFALiyDErlC+h5dBNyyjPDhK3ErsQzkE\n-----END PRIVATE KEY-----\n";
/// The public key to it.
pub const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECZVvvcA5KuePuW6fOKrQj4Qbk4o0\nslKKNmV9Ru3Z2WVkYInp6BDjNsxQC4sgxK5QvoeXQTcsozw4StxK7EM5BA==\n-----END PUBLIC KEY-----\n";
