//! Paths of the listener.

use std::collections::HashMap;

/// The place at a path, or at the one without its last slash: clients write `/mcp/` for `/mcp`. A second
/// slash is another path, and so is an encoded one.
pub(super) fn at<'a, T>(places: &'a HashMap<String, T>, path: &str) -> Option<&'a T> {
    let without = || path.strip_suffix('/').filter(|path| !path.ends_with('/'));
    places.get(path).or_else(|| places.get(without()?))
}
