//! The components that are embedded in this program.

use std::sync::LazyLock;

use witgate_plugin::Digest;

// COMPONENTS: names and bytes. MISSING: the reason why there are none.
include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

static DIGESTS: LazyLock<Vec<Digest>> =
    LazyLock::new(|| COMPONENTS.iter().map(|(_, bytes)| witgate_base::digest::sha256(bytes)).collect());

/// True if a component is one of them, so that the built-in of its kind is the same check.
pub(super) fn is_shipped(digest: &Digest) -> bool {
    DIGESTS.contains(digest)
}

/// Names and bytes of the components.
///
/// # Errors
/// If the program was built without them: the reason, and how to build it with them.
pub fn components() -> Result<&'static [(&'static str, &'static [u8])], String> {
    if COMPONENTS.is_empty() {
        return Err(format!(
            "this program was built without the shipped components, because {}\nThen build it again, or name a directory with \
             the components of the same version by the variable WITGATE_COMPONENTS while it is built.",
            MISSING.trim_end_matches('.')
        ));
    }
    Ok(COMPONENTS)
}
