//! The interface of listeners to endpoints at which there are several upstreams.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use super::reject::{RejectedMessage, Rejection};
use super::{Arrival, Reply};
use crate::event::Event;
use witgate_policy::generation::Generation;

/// The path of the messages of one endpoint to several upstreams. Each message passes the flow of its own upstream.
pub trait EndpointFlow: Send + Sync {
    /// The live generation, if it serves all upstreams that the endpoint has been made with.
    fn serving(&self) -> Option<Arc<Generation>>;

    /// Handles one message.
    fn handle(&self, arrival: Arrival) -> BoxFuture<'_, Result<Reply, RejectedMessage>>;

    /// Opens the streams of the servers' own messages, as one (GET, in the stateful era).
    fn listen(&self, arrival: Arrival) -> BoxFuture<'_, Result<BoxStream<'static, Event>, RejectedMessage>>;

    /// Ends a session at all upstreams (DELETE, in the stateful era).
    fn close(&self, arrival: Arrival) -> BoxFuture<'_, Result<(), RejectedMessage>>;

    /// Counts and records a refusal of the transport before there is a message from `peer`.
    fn refuse_unread(&self, rejection: Rejection, peer: Option<IpAddr>) -> RejectedMessage;

    /// True if a policy accepts tokens with a proof of possession, so that challenges offer it.
    fn takes_proofs(&self) -> bool;
}
