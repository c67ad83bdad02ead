//! OAuth scopes.

/// The scope for refresh tokens. It concerns only the client and its authorization server, so a resource server neither
/// requires nor lists it.
pub const OFFLINE_ACCESS: &str = "offline_access";

/// True if a text is one scope token (RFC 6749, section 3.3), within the limits of an identity.
///
/// ```
/// use witgate_plugin::is_scope;
///
/// assert!(is_scope("tools:read") && !is_scope("tools read"));
/// ```
pub fn is_scope(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    (1..=256).contains(&text.len()) && text.chars().all(fits)
}
