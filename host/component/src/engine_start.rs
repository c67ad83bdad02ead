//! The start of an engine while the program does something else. It reserves address space and makes a thousand guard
//! pages, which takes milliseconds and needs no settings.

use std::thread::{self, JoinHandle};

use super::engine::{Engine, EngineError};

/// An engine that is being started in a thread of its own. Dropping it waits for that thread, so that the process does
/// not end meanwhile.
#[derive(Debug)]
pub struct EngineStart(Option<JoinHandle<Result<Engine, EngineError>>>);

impl EngineStart {
    /// Begins the start. Without a thread for it, the engine starts when it is needed.
    pub fn begin() -> Self {
        Self(thread::Builder::new().name("engine-start".to_owned()).spawn(Engine::new).ok())
    }

    /// The engine.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn finish(mut self) -> Result<Engine, EngineError> {
        self.0.take().and_then(|starting| starting.join().ok()).unwrap_or_else(Engine::new)
    }
}

impl Drop for EngineStart {
    fn drop(&mut self) {
        if let Some(starting) = self.0.take() {
            drop(starting.join());
        }
    }
}
