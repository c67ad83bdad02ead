//! The revocation of a token, on the control socket and on the admin listener.

use crate::operation::{OperationLog, Requester};
use witgate_policy::generation::Generations;

/// Makes all policies forget the answers that they keep for the token with this SHA-256 digest, and records that.
/// Returns the names of the policies.
pub(crate) fn forget_token(
    generations: &Generations,
    audit: &OperationLog,
    digest: &[u8; 32],
    by: Requester,
) -> Vec<String> {
    let policies: Vec<_> = generations.forget(digest).iter().map(ToString::to_string).collect();
    tracing::info!(policies = policies.join(","), %by, "a token was forgotten");
    audit.token_forgotten(&policies, by);
    policies
}
