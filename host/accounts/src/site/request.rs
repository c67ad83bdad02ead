//! The authorization request (RFC 6749, section 4.1.1), checked as a whole. It is read again with each form, so that
//! nothing of it is stored.

use std::sync::Arc;

use url::Url;

use super::metadata::OFFLINE;
use super::params::OauthParams;
use super::{AccountSite, SiteVisit};
use crate::client::description::OauthClient;
use crate::client::document::{self, DocumentFault};
use crate::client::registered;
use crate::redirect::RedirectUri;
use witgate_config::accounts::AccountResource;

/// The longest query of a request, in bytes.
const LONGEST: usize = 8 << 10;

/// The length of a challenge of the method S256.
const CHALLENGE: usize = 43;

/// A valid request of a client for access.
#[derive(Debug)]
pub(super) struct AccessRequest {
    /// The client.
    pub(super) client: Arc<OauthClient>,
    /// The place of the answer.
    pub(super) redirect: RedirectUri,
    /// `state`.
    pub(super) state: Option<String>,
    /// `code_challenge`.
    pub(super) challenge: String,
    /// The resource.
    pub(super) resource: AccountResource,
    /// The scopes that the client asks for and that exist.
    pub(super) scopes: Vec<String>,
    /// True if the client wants no page (`prompt=none`).
    pub(super) is_silent: bool,
}

/// The fault of a request.
#[derive(Debug)]
pub(super) enum RequestFault {
    /// Nobody knows whether the answer may go to the redirect URI, so that the person gets a page.
    Page(PageFault),
    /// The client gets the error.
    Client {
        /// The place of the answer.
        redirect: RedirectUri,
        /// `state`.
        state: Option<String>,
        /// `error`.
        error: &'static str,
        /// `error_description`.
        description: &'static str,
    },
}

impl RequestFault {
    /// The code of the fault, for the log.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Page(fault) => fault.code(),
            Self::Client { error, .. } => error,
        }
    }
}

/// The reason for a page with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageFault {
    /// The query is not well formed.
    Malformed,
    /// The client is not known.
    Client(&'static str),
    /// The redirect URI is not one of the client.
    Redirect,
    /// Too many requests at once.
    Busy,
}

impl PageFault {
    /// The code of the fault, for the log.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Malformed => "request-malformed",
            Self::Client(code) => code,
            Self::Redirect => "redirect-refused",
            Self::Busy => "busy",
        }
    }

    /// The code that the sender sees. It does not tell which internal names there are.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Client("cimd-private") => "cimd-fetch",
            other => other.code(),
        }
    }
}

impl AccountSite {
    /// The request in a query.
    pub(super) async fn read_request(
        &self,
        query: &str,
        visit: &SiteVisit,
    ) -> Result<AccessRequest, RequestFault> {
        let malformed = RequestFault::Page(PageFault::Malformed);
        if query.len() > LONGEST {
            return Err(malformed);
        }
        let params = OauthParams::parse(query.as_bytes()).map_err(|_| malformed)?;
        let unknown = RequestFault::Page(PageFault::Client("client-unknown"));
        let client = self.client(params.get("client_id").ok_or(unknown)?, visit).await;
        let client = client.map_err(RequestFault::Page)?;
        let redirect = params.get("redirect_uri").and_then(RedirectUri::parse);
        let redirect = redirect.filter(|redirect| client.has_redirect(redirect));
        let redirect = redirect.ok_or(RequestFault::Page(PageFault::Redirect))?;
        let state = params.get("state").map(str::to_owned);
        match self.rest_of_request(&params) {
            Ok((challenge, resource)) => Ok(AccessRequest {
                client,
                redirect,
                state,
                challenge,
                resource,
                scopes: self.known_scopes(params.get("scope")),
                is_silent: params.get("prompt") == Some("none"),
            }),
            Err((error, description)) => Err(RequestFault::Client { redirect, state, error, description }),
        }
    }

    /// The challenge and the resource.
    fn rest_of_request(
        &self,
        params: &OauthParams,
    ) -> Result<(String, AccountResource), (&'static str, &'static str)> {
        if params.get("request").is_some() {
            return Err(("request_not_supported", "request objects are not supported"));
        }
        if params.get("request_uri").is_some() {
            return Err(("request_uri_not_supported", "request objects are not supported"));
        }
        match params.get("response_type") {
            Some("code") => {}
            Some(_) => return Err(("unsupported_response_type", "the only response type is `code`")),
            None => return Err(("invalid_request", "`response_type` is missing")),
        }
        if params.get("response_mode").is_some_and(|mode| mode != "query") {
            return Err(("invalid_request", "the only response mode is `query`"));
        }
        // RFC 7636, section 4.3: without a method, it is `plain`.
        if params.get("code_challenge_method") != Some("S256") {
            return Err(("invalid_request", "PKCE with the method S256 is required"));
        }
        let is_digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let challenge = params.get("code_challenge").filter(|text| text.bytes().all(is_digit));
        let challenge = challenge.filter(|text| text.len() == CHALLENGE);
        let challenge = challenge.ok_or(("invalid_request", "`code_challenge` is missing or malformed"))?;
        let resource = self.resource(params.get("resource"));
        let resource = resource.ok_or(("invalid_target", "`resource` is missing, or is not served here"))?;
        Ok((challenge.to_owned(), resource.clone()))
    }

    /// The client with this id.
    async fn client(&self, id: &str, visit: &SiteVisit) -> Result<Arc<OauthClient>, PageFault> {
        let unknown = PageFault::Client("client-unknown");
        if registered::is_id(id) && self.settings.takes_registrations {
            return registered::client(self.store.clients(), id).map(Arc::new).ok_or(unknown);
        }
        if document::is_id(id) && self.settings.takes_documents {
            return self.documents.client(id, visit.source()).await.map_err(|fault| match fault {
                DocumentFault::Busy => PageFault::Busy,
                other => PageFault::Client(other.code()),
            });
        }
        Err(unknown)
    }

    /// The resource that a client names (RFC 8707). Without a name, it is the only one. A query, a trailing slash and the
    /// case of the host do not count.
    pub(super) fn resource(&self, named: Option<&str>) -> Option<&AccountResource> {
        let resources = &self.settings.resources;
        let Some(named) = named else {
            let [only] = resources.as_slice() else { return None };
            return Some(only);
        };
        let wanted = compared(named)?;
        resources.iter().find(|resource| compared(&resource.url).as_ref() == Some(&wanted))
    }

    /// The scopes that exist, each once. Others are ignored, because clients ask for scopes of other servers.
    pub(super) fn known_scopes(&self, wanted: Option<&str>) -> Vec<String> {
        let wanted: Vec<_> = wanted.unwrap_or_default().split(' ').collect();
        let known = self.settings.scopes.keys().filter(|scope| wanted.contains(&scope.as_str()));
        known.filter(|scope| *scope != OFFLINE).cloned().collect()
    }
}

fn compared(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    let is_plain = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    url.set_query(None);
    is_plain.then(|| url.as_str().trim_end_matches('/').to_owned())
}
