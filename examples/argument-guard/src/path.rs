//! Paths that all programs read in the same way.
//!
//! The check resolves and decodes nothing, because it would have to do that exactly as the upstream does. It accepts a
//! path unchanged, or denies it.

/// A directory that paths may not leave.
#[derive(Debug)]
pub(crate) struct Root(String);

/// Characters that other programs turn into a dot, a slash or a backslash when they normalise a path.
const LOOKALIKES: [char; 9] = [
    '\u{2024}', '\u{2025}', '\u{2026}', '\u{2044}', '\u{2215}', '\u{29f8}', '\u{ff0e}', '\u{ff0f}',
    '\u{ff3c}',
];

impl Root {
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        plain(text).map_err(|why| format!("the root {why}"))?;
        Ok(Self(text.to_owned()))
    }

    /// Checks that `path` is the root or lies below it.
    pub(crate) fn holds(&self, path: &str) -> Result<(), &'static str> {
        plain(path)?;
        match path.strip_prefix(&self.0) {
            Some("") => Ok(()),
            Some(rest) if rest.starts_with('/') => Ok(()),
            _ => Err("leads out of its root"),
        }
    }
}

/// Checks that a path begins with `/`, that every segment is a name, and that all programs read the same segments.
fn plain(path: &str) -> Result<(), &'static str> {
    let segments = path.strip_prefix('/').ok_or("does not begin with `/`")?;
    if path.contains('%') {
        return Err("contains `%`, which the upstream may decode");
    }
    if path.contains(['\\', ':']) {
        return Err("contains a backslash or a colon, which Windows reads in another way");
    }
    if path.chars().any(|c| c.is_control() || LOOKALIKES.contains(&c)) {
        return Err("contains a control character, or a character that may become a dot or a slash");
    }
    segments.split('/').try_for_each(name)
}

/// Checks a segment. Windows drops dots and spaces at the end of a name, so `.. ` would be `..`.
fn name(segment: &str) -> Result<(), &'static str> {
    match segment {
        "" => Err("has an empty segment"),
        "." | ".." => Err("has a segment `.` or `..`"),
        _ if segment.ends_with(['.', ' ']) => Err("has a name that ends in a dot or a space"),
        _ if segment.starts_with('~') => Err("has a name that begins with `~`"),
        _ => Ok(()),
    }
}
