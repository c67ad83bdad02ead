//! Keys for tests, which are public and protect nothing.

/// A private key on the curve P-256.
pub const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgYdULgdrCzEJ80ISu\nAcZXwaeNgh6GN7bBi5h5p3tHlO6hRANCAAQJlW+9wDkq54+5bp84qtCPhBuTijSy\nUoo2ZX1G7dnZZWRgienoEOM2zFALiyDErlC+h5dBNyyjPDhK3ErsQzkE\n-----END PRIVATE KEY-----\n";
/// The public key to it.
pub const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECZVvvcA5KuePuW6fOKrQj4Qbk4o0\nslKKNmV9Ru3Z2WVkYInp6BDjNsxQC4sgxK5QvoeXQTcsozw4StxK7EM5BA==\n-----END PUBLIC KEY-----\n";
/// A certificate for that key and the host `mcp.example.com`, which signs itself, until 2100.
pub const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIBpTCCAUqgAwIBAgIUfOgt520fONgkVtAZdNu3mrVxeFIwCgYIKoZIzj0EAwIw\nGjEYMBYGA1UEAwwPbWNwLmV4YW1wbGUuY29tMCAXDTI2MTEzMDIxMTkxNVoYDzIx\nMDAxMTAyMjExOTE1WjAaMRgwFgYDVQQDDA9tY3AuZXhhbXBsZS5jb20wWTATBgcq\nhkjOPQIBBggqhkjOPQMBBwNCAAQJlW+9wDkq54+5bp84qtCPhBuTijSyUoo2ZX1G\n7dnZZWRgienoEOM2zFALiyDErlC+h5dBNyyjPDhK3ErsQzkEo2wwajAdBgNVHQ4E\nFgQUwn+OVvnM5+OG5wZv4pZJJU2Ze/swHwYDVR0jBBgwFoAUwn+OVvnM5+OG5wZv\n4pZJJU2Ze/swGgYDVR0RBBMwEYIPbWNwLmV4YW1wbGUuY29tMAwGA1UdEwEB/wQC\nMAAwCgYIKoZIzj0EAwIDSQAwRgIhALVOveRfJlK+ri3mBBPQsaeOCjpCym09TzsE\nbVzaMebjAiEAmat9LGnkW45+QykNzunP+IEOgN4WHi2+nX6Hl9yPUBI=\n-----END CERTIFICATE-----\n";
