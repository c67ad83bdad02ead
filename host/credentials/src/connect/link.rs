//! One link, from its issue to the connected account.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;
use witgate_plugin::Digest;

use super::invitee::{Invitee, IssuedLink, LinkFacts, provider};
use super::link_key::LinkKey;
use crate::login::Login;

/// The lifetime of a link. People look for their second factor.
const LIFETIME: Duration = Duration::from_secs(600);

/// A link with less time left is not given again.
const FRESH: Duration = Duration::from_secs(300);

/// A link.
pub(super) struct ConnectLink {
    pub(super) invitee: Invitee,
    /// The text in its URL.
    pub(super) secret: Box<str>,
    /// The number to compare, over stdio.
    code: Option<Box<str>>,
    /// The page, without the link.
    pub(super) page: Url,
    end: Instant,
    pub(super) stage: LinkStage,
}

/// The stage of a link.
pub(super) enum LinkStage {
    /// Nobody has proven to be the principal.
    Open,
    /// A browser is at the provider.
    LoggingIn {
        /// The digest of the secret of the browser.
        browser: Digest,
        /// The login.
        login: Arc<Login>,
    },
    /// The code of the provider is being exchanged. It can be exchanged once.
    Redeeming,
    /// The account is connected.
    Connected {
        /// The digest of the secret of the browser.
        browser: Digest,
    },
}

impl ConnectLink {
    /// A link that begins now. None: there are no random numbers.
    pub(super) fn new(invitee: &Invitee, page: Url, code: Option<Box<str>>) -> Option<Self> {
        let (secret, end) = (random_text()?, Instant::now() + LIFETIME);
        Some(Self { invitee: invitee.clone(), secret, code, page, end, stage: LinkStage::Open })
    }

    pub(super) fn key(&self) -> LinkKey {
        LinkKey::of(&self.secret)
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// True if it is for the credential with this name.
    pub(super) fn is_for(&self, credential: &str) -> bool {
        *self.invitee.credential.settings().name == *credential
    }

    /// True if the principal can be given this link again.
    pub(super) fn fits(&self, invitee: &Invitee) -> bool {
        matches!(self.stage, LinkStage::Open)
            && self.end > Instant::now() + FRESH
            && Arc::ptr_eq(&self.invitee.credential, &invitee.credential)
            && self.invitee.upstream == invitee.upstream
            && self.invitee.principal == invitee.principal
    }

    pub(super) fn issued(&self) -> IssuedLink {
        let mut url = self.page.clone();
        url.query_pairs_mut().append_pair("t", &self.secret);
        IssuedLink { url, code: self.code.clone(), id: self.key().id().into() }
    }

    pub(super) fn facts(&self) -> LinkFacts {
        let provider = provider(&self.invitee.credential).unwrap_or_default();
        LinkFacts {
            upstream: self.invitee.upstream,
            code: self.code.clone(),
            page: self.page.clone(),
            provider,
        }
    }
}

/// 256 random bits. None: there are none.
pub(super) fn random_text() -> Option<Box<str>> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes).into())
}
