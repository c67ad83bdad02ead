//! The grants of principals for one credential: each principal has tokens of their own.

use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::fault::OutboundProblem;
use crate::grant_source::GrantSource;
use crate::token_keeper::{TokenForm, TokenKeeper};
use witgate_base::party::Principal;

/// Principals whose tokens are in memory. Those of others are read again from their files.
const MOST_PRINCIPALS: usize = 10_000;

/// The grants of all principals.
pub(crate) struct PrincipalGrants {
    source: GrantSource,
    form: TokenForm,
    keepers: Cache<Principal, Arc<TokenKeeper>>,
}

impl PrincipalGrants {
    pub(crate) fn new(source: GrantSource, form: TokenForm) -> Self {
        Self { source, form, keepers: Cache::new(MOST_PRINCIPALS) }
    }

    /// The tokens of a principal.
    ///
    /// # Errors
    /// If they are nobody in particular: all callers without a credential are one principal.
    pub(crate) fn of(&self, principal: &Principal) -> Result<Arc<TokenKeeper>, OutboundProblem> {
        if principal.is_nameless() {
            return Err(OutboundProblem::NoPrincipal);
        }
        let new = || {
            let source = self.source.of_principal(principal.clone());
            Ok::<_, std::convert::Infallible>(TokenKeeper::new(Arc::new(source), self.form.clone()))
        };
        let Ok(keeper) = self.keepers.get_or_insert_with(principal, new);
        Ok(keeper)
    }

    /// Forgets the tokens in memory, so that a login or a logout takes effect at once.
    pub(crate) fn forget(&self, principal: &Principal) {
        self.keepers.remove(principal);
    }
}
