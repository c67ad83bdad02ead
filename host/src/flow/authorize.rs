//! Request + caller → permit. The one function that decides calls and lists.

use std::sync::Arc;

use witgate_plugin::TargetKind;

use super::identity::Caller;
use super::reject::Rejection;
use super::request::Request;
use crate::generation::Generation;

/// Proof that a caller may make a call. Only [`authorize`] makes one.
#[derive(Debug)]
pub struct Permit {
    request: Arc<Request>,
    caller: Arc<Caller>,
    generation: Arc<Generation>,
}

impl Permit {
    /// The call.
    pub fn request(&self) -> &Arc<Request> {
        &self.request
    }

    /// Whose it is.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// The generation that decided.
    pub fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// Whether the caller may see `name` in a list: the same decision as for calling it.
    pub async fn sees(&self, kind: TargetKind, name: &str) -> bool {
        let _ = (kind, name);
        false
    }
}

/// Decides whether `caller` may make `request`: every authorizer of the pipeline must allow.
///
/// # Errors
/// `Denied` or `Failed`.
pub async fn authorize(
    generation: Arc<Generation>,
    request: Arc<Request>,
    caller: Arc<Caller>,
) -> Result<Permit, Rejection> {
    let _ = (&generation, &request, &caller);
    Err(Rejection::Denied { policy: None, denial: witgate_plugin::Denial::default() })
}
