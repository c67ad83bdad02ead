//! The settings of requests to a running HTTP upstream, which a reload replaces.

use std::sync::Arc;

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use secrecy::SecretString;

use super::farewells::Farewells;
use super::held_session::HttpHeldSession;
use super::request_settings::{RequestSettings, SetUpError, own_headers};
use witgate_base::party::Principal;
use witgate_config::identity::IdentitySettings;
use witgate_config::secret_programs::SecretLifetime;
use witgate_credentials::upstream_credential::UpstreamCredential;

/// The replaceable headers and settings of requests to an HTTP upstream.
pub(crate) struct LiveRequestSettings {
    pub(super) given: Arc<ArcSwap<RequestSettings>>,
    pub(super) held: Arc<Cache<Principal, Arc<HttpHeldSession>>>,
    pub(super) farewells: Farewells,
}

impl LiveRequestSettings {
    /// Uses new headers and settings from now on. Sessions that Witgate has opened with another account or identity are not
    /// used any more.
    pub(crate) fn replace(
        &self,
        headers: &[(String, SecretString)],
        lifetimes: &[SecretLifetime],
        identity: &IdentitySettings,
        credential: Option<Arc<UpstreamCredential>>,
    ) -> Result<(), SetUpError> {
        let (own, lifetimes, identity) = (own_headers(headers)?, lifetimes.to_vec(), identity.clone());
        let new = Arc::new(RequestSettings { own, lifetimes, identity, credential });
        let former = self.given.swap(Arc::clone(&new));
        let has_identity = former.identity == new.identity;
        self.held.retain(|principal, held| {
            let stays = has_identity && held.bound.is_open_for(&new);
            // A call that runs in one goes on, and the server forgets that session by itself.
            if !stays && Arc::strong_count(held) == 1 && held.bound.end() {
                self.farewells.say(&held.bound, Some(principal));
            }
            stays
        });
        Ok(())
    }
}
