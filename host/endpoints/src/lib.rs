//! Endpoints at which there are several upstreams. A message of a client becomes messages for the upstreams that it
//! concerns, and each of them passes all stages of its own upstream's flow. Nothing here decides about a caller: the
//! flows authenticate, authorize, limit and record, with the names that the upstream itself gives its tools.
//!
//! Only names are changed, and what else tells the upstreams apart: ids of their requests, their progress tokens,
//! cursors, and ids of events.

#![forbid(unsafe_code)]
#![recursion_limit = "256"]

mod capabilities;
mod combined;
mod event_ids;
mod events;
mod handshake;
mod joint_session;
mod lists;
mod member_state;
mod message;
mod names;
mod part;
mod routing;
mod subscriptions;

pub use combined::{CombinedFlow, EndpointMember};
pub use names::NamePlan;
