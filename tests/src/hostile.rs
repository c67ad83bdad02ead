//! The deliberately malicious guests, by name: an enum made of the files in `guests/hostile`.

use std::path::PathBuf;

use crate::gateway::component;

include!(concat!(env!("OUT_DIR"), "/hostile_guests.rs"));

impl Guest {
    /// Its component, as `cargo xtask guests` builds it.
    pub fn file(self) -> PathBuf {
        component(&format!("tests/hostile/{}", self.name()))
    }
}
