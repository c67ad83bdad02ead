//! The principals who get links, and what they and the page learn of one.

use std::sync::Arc;

use url::Url;

use crate::upstream_credential::UpstreamCredential;
use witgate_base::party::Principal;
use witgate_config::credentials::{GrantSettings, OutboundSource};

/// The principal who gets a link, and the reason.
#[derive(Clone)]
pub struct Invitee {
    /// The credential.
    pub credential: Arc<UpstreamCredential>,
    /// The principal.
    pub principal: Principal,
    /// The place of the upstream in the configuration, whose policies know the principal.
    pub upstream: usize,
    /// The resource identifier of the upstream, at whose origin the page is.
    pub resource: Arc<str>,
}

/// A link, for the principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedLink {
    /// The page.
    pub url: Url,
    /// The number that the page shows, over stdio.
    pub code: Option<Box<str>>,
    /// The id of the link. It opens nothing.
    pub id: Box<str>,
}

impl IssuedLink {
    /// The text of the link in its URL.
    pub fn link(&self) -> Option<String> {
        self.url.query_pairs().find(|(name, _)| name == "t").map(|(_, link)| link.into_owned())
    }
}

/// The facts that the page may show to anybody who has a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// The place of the upstream in the configuration.
    pub upstream: usize,
    /// The number to compare, over stdio.
    pub code: Option<Box<str>>,
    /// The page, without the link.
    pub page: Url,
    /// The host of the provider.
    pub provider: Box<str>,
}

/// The settings of a grant. None: the credential is of another kind.
pub(super) fn grant(credential: &UpstreamCredential) -> Option<&GrantSettings> {
    match &credential.settings().source {
        OutboundSource::Grant(grant) => Some(grant),
        _ => None,
    }
}

/// The host of the provider of a credential.
pub(super) fn provider(credential: &UpstreamCredential) -> Option<Box<str>> {
    grant(credential)?.authorize_url.host_str().map(Box::from)
}
