//! The hostile guests by name: an enum that is generated from the files in `guests/hostile`.

use std::path::PathBuf;

use crate::gateway::component;

include!(concat!(env!("OUT_DIR"), "/hostile_guests.rs"));

impl Guest {
    /// The path of its component, as `cargo xtask guests` builds it.
    pub fn file(self) -> PathBuf {
        component(&format!("tests/hostile/{}", self.name()))
    }
}
