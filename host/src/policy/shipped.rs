//! The digests of the components that were built with this program.

use witgate_plugin::Digest;

/// Lines of `DIGEST  NAME`, as `sha256sum` writes them; empty when the components were not built.
const SUMS: &str = include_str!(concat!(env!("OUT_DIR"), "/shipped-components.sha256"));

/// Whether a component is one of them, so that the built-in of its kind is the same check.
pub(super) fn is_shipped(digest: &Digest) -> bool {
    let text = crate::digest::digest_text(digest);
    let hex = text.trim_start_matches("sha256:");
    SUMS.lines().filter_map(|line| line.split_whitespace().next()).any(|sum| sum == hex)
}
