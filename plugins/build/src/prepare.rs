//! The tools for builds, installed before the first build.

use anyhow::Result;

use crate::{Tools, c, javascript, python};

impl Tools {
    /// Installs the tools for builds in Python and JavaScript, so that a later build finds them.
    ///
    /// # Errors
    /// If a tool is missing and cannot be installed.
    pub fn prepare(&self) -> Result<()> {
        python::find(self)?;
        javascript::find(self)?;
        c::find()?;
        Ok(())
    }
}
