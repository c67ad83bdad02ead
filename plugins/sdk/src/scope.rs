//! OAuth scopes.

/// The scope that is between a client and its authorization server: a resource server neither asks for it nor lists it.
pub const OFFLINE_ACCESS: &str = "offline_access";

/// True if a text is one scope token (RFC 6749, section 3.3), within the bounds of an identity.
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
