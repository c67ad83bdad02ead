//! The server of an upstream that is also at endpoints with others.

use std::sync::Arc;

use futures_util::stream::BoxStream;

use witgate_base::party::Principal;
use witgate_credentials::fault::OutboundFault;
use witgate_credentials::upstream_credential::{Delegation, UpstreamCredential};
use witgate_flow::Flow;
use witgate_flow::authenticate::identity::Caller;
use witgate_flow::event::Event;
use witgate_flow::limit::Admitted;
use witgate_flow::port::{Answer, SessionRequest, Upstream};
use witgate_flow::reject::Rejection;
use witgate_flow::request::Request;
use witgate_upstream::any_upstream::AnyUpstream;

/// The server of a flow, which other flows use too. That flow shuts it down.
pub(super) struct SharedUpstream(pub(super) Arc<Flow<AnyUpstream>>);

impl SharedUpstream {
    fn server(&self) -> &AnyUpstream {
        self.0.upstream()
    }
}

impl Upstream for SharedUpstream {
    fn delegation(&self, request: &Request, caller: &Caller) -> Result<Option<Delegation>, OutboundFault> {
        self.server().delegation(request, caller)
    }

    fn credential_of_principals(&self) -> Option<Arc<UpstreamCredential>> {
        self.server().credential_of_principals()
    }

    fn exchanges_tokens(&self) -> bool {
        self.server().exchanges_tokens()
    }

    fn opens_urls(&self, session: &str, principal: &Principal) -> bool {
        self.server().opens_urls(session, principal)
    }

    fn issues_tokens(&self) -> bool {
        self.server().issues_tokens()
    }

    async fn forward(&self, admitted: Admitted) -> Result<Answer, Rejection> {
        self.server().forward(admitted).await
    }

    async fn listen(&self, listener: SessionRequest) -> Result<BoxStream<'static, Event>, Rejection> {
        self.server().listen(listener).await
    }

    async fn keeps_sessions(&self) -> bool {
        self.server().keeps_sessions().await
    }

    async fn close(&self, listener: SessionRequest) -> Result<(), Rejection> {
        self.server().close(listener).await
    }

    /// The flow of the upstream alone does that.
    async fn shut_down(&self) {}
}
