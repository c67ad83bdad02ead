//! Paths of the listener.

use std::collections::HashMap;

/// The value at a path, or at the path without its last slash: clients write `/mcp/` for `/mcp`. A second slash makes
/// another path, and so does an encoded one.
pub(super) fn at<'a, T>(places: &'a HashMap<String, T>, path: &str) -> Option<&'a T> {
    let without = || path.strip_suffix('/').filter(|path| !path.ends_with('/'));
    places.get(path).or_else(|| places.get(without()?))
}
