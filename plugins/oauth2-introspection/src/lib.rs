//! OAuth 2.0 token introspection (RFC 7662).
