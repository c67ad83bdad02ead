//! Pages and documents of other parts of the program, beside the endpoints.

use std::net::IpAddr;

use ::http::request::Parts;
use ::http::{Request, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::body::Body;
use super::receive::receive_any;
use super::responses::plain;
use super::{Gateway, Sender, cors};
use witgate_flow::body::Inflow;
use witgate_flow::port::Upstream;

/// Pages and documents beside the endpoints. They make no decisions about calls.
pub trait Site: Send + Sync {
    /// True if there is something at the path.
    fn has(&self, path: &str) -> bool;

    /// True if pages of all origins may read the answers at the path.
    fn is_for_programs(&self, path: &str) -> bool;

    /// The largest body of a request, in bytes.
    fn largest_body(&self) -> usize;

    /// Answers a request of a sender with this address.
    fn respond(&self, request: Request<Bytes>, peer: Option<IpAddr>) -> BoxFuture<'_, Response<Bytes>>;
}

impl<U: Upstream + 'static> Gateway<U> {
    /// Lets the site answer. It gets only requests whose sender and host are accepted, with a whole body.
    pub(super) async fn respond_by_site(
        &self,
        site: &dyn Site,
        parts: Parts,
        body: &mut Inflow,
        sender: Sender,
    ) -> Response<Body> {
        let sender = match self.admitted_sender(&parts, sender) {
            Ok(sender) => sender,
            Err((peer, rejection)) => return self.denied_elsewhere(peer, rejection),
        };
        if let Err(fault) = self.check_host(&parts, &sender) {
            return plain(fault.into());
        }
        if cors::is_preflight(&parts) {
            return self.preflight(&parts);
        }
        let mut held = self.hold(&sender);
        let body = match receive_any(body, site.largest_body(), &mut held).await {
            Ok(body) => body,
            Err(rejection) => return plain(rejection),
        };
        sender.has_sent();
        site.respond(Request::from_parts(parts, body), sender.peer).await.map(Body::whole)
    }
}
