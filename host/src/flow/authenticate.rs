//! Credential → caller. Knows nothing of permissions.

use std::sync::Arc;

use super::credential::Shown;
use super::identity::Caller;
use super::reject::Rejection;
use super::request::Request;
use crate::generation::Generation;

/// Establishes who makes `request`: the pipeline's authenticators in order.
///
/// # Errors
/// `NoCredential`, `Refused` or `Failed`.
pub async fn authenticate(
    generation: &Arc<Generation>,
    request: &Arc<Request>,
    shown: &Shown,
) -> Result<Arc<Caller>, Rejection> {
    let _ = (generation, request, shown);
    Err(Rejection::NoCredential)
}
