//! A message on its way to a child.

use http::HeaderMap;

use witgate_base::party::{Party, Principal};
use witgate_flow::account::Account;
use witgate_flow::limit::CallPlaces;
use witgate_message::call::{Access, Call};

/// A message for a child, without its proof of admission.
pub(super) struct OutgoingMessage<'a> {
    pub(super) call: &'a Call,
    /// The arguments as the caller has sent them, without the operator's own.
    pub(super) arguments: Option<&'a str>,
    pub(super) principal: Principal,
    pub(super) party: Party,
    pub(super) account: &'a Account,
    pub(super) places: &'a CallPlaces,
    pub(super) session: Option<&'a str>,
    /// True if callers can show a credential in an argument.
    pub(super) has_arguments: bool,
    /// The headers, over HTTP.
    pub(super) headers: Option<&'a HeaderMap>,
}

impl OutgoingMessage<'_> {
    /// The name of the message's target.
    pub(super) fn target(&self) -> Option<&str> {
        match self.call.access() {
            Access::Target(target) => Some(&target.name),
            Access::Open | Access::Targets(_) => None,
        }
    }
}
