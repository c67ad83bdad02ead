//! The login that a caller shows.

use serde::Deserialize;

use witgate_accounts::database::grants::{GrantId, id_of, sid_of};
use witgate_plugin::Identity;

/// The login at these accounts that a token is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallerLogin {
    /// The id of the user.
    pub(super) user: String,
    /// The grant.
    pub(super) grant: GrantId,
}

#[derive(Deserialize)]
struct LoginClaims {
    sid: String,
}

impl CallerLogin {
    /// The login of a caller who shows a token of this issuer. None: they show something else. The database has to
    /// confirm that the user has this grant.
    pub(super) fn of(identity: &Identity, issuer: &str) -> Option<Self> {
        identity.issuer.as_deref().filter(|own| *own == issuer)?;
        let claims: LoginClaims = serde_json::from_str(identity.claims.as_deref()?).ok()?;
        Some(Self { user: identity.subject.clone(), grant: id_of(&claims.sid)? })
    }

    /// The claim `sid` of its tokens.
    pub(super) fn session(&self) -> String {
        sid_of(&self.grant)
    }
}
