//! Everything that builds stand on, set up before the first one.

use anyhow::Result;

use crate::{Tools, c, javascript, python};

impl Tools {
    /// Sets up everything that builds in Python and JavaScript stand on, so that a later build finds it.
    ///
    /// # Errors
    /// Where something is missing and cannot be had.
    pub fn prepare(&self) -> Result<()> {
        python::find(self)?;
        javascript::find(self)?;
        c::find()?;
        Ok(())
    }
}
