//! The view of a request that policies get.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use witgate_plugin::{Identity, Principal, ToolAnnotations, Transport};

use parking_lot::Mutex;
use witgate_base::breaker::CallerDigest;

/// A request, and its caller after authentication. Policies see it through `services`, as far as they want and may.
pub trait Subject: fmt::Debug + Send + Sync {
    /// The upstream's name.
    fn upstream(&self) -> &str;

    /// The upstream's resource identifier.
    fn audience(&self) -> &str;

    /// The transport of the message.
    fn transport(&self) -> Transport;

    /// The address of the sender. None over stdio.
    fn peer(&self) -> Option<IpAddr>;

    /// The headers, without those that contain credentials.
    fn headers(&self) -> &HeaderMap;

    /// The arguments of the call, as JSON text.
    fn arguments(&self) -> Option<&str>;

    /// The `_meta` of the message, as JSON text.
    fn meta(&self) -> Option<&str>;

    /// The thumbprint of the client certificate, if it is valid at `now`, in seconds since the Unix epoch (`x5t#S256`
    /// of RFC 8705, section 3.1).
    fn certificate_thumbprint(&self, now: u64) -> Option<&str>;

    /// The thumbprint (RFC 7638) of the key that the sender has proven to have.
    fn dpop_thumbprint(&self) -> Option<&str>;

    /// The approved annotations of a tool, after authentication. None: nobody has approved any.
    fn annotations(&self, tool: &str) -> Option<ToolAnnotations> {
        let _ = tool;
        None
    }

    /// The caller's identity, after authentication.
    fn identity(&self) -> Option<&Identity>;

    /// The principal for an authorizer, after authentication.
    fn principal(&self) -> Option<Principal<'_>>;

    /// The source to which a failure is attributed: the caller, or their network before authentication.
    fn source(&self) -> CallerDigest;

    /// Notes that a policy allows the call, and the kind and the name of its rule if it knows one. The first policy counts,
    /// with what it has noted first.
    fn note_allowed(&self, policy: &Arc<str>, rule: Option<(&str, &str)>) {
        let _ = (policy, rule);
    }

    /// The log of the hooks that are asked about the request. None: nobody will read it.
    fn hooks(&self) -> Option<&HookLog> {
        None
    }
}

/// The hooks that were asked about one request, for its trace and for operators who watch.
#[derive(Debug, Default)]
pub struct HookLog(Mutex<Vec<AnsweredHook>>);

/// A hook that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnsweredHook {
    /// The policy.
    pub policy: Arc<str>,
    /// The hook.
    pub hook: &'static str,
    /// The code that answered: a component, a built-in, a built-in in place of a component, or the `memory` of verdicts.
    pub form: &'static str,
    /// The kind of the answer.
    pub verdict: &'static str,
    /// The time at which it was asked.
    pub from: Instant,
    /// The time of its answer.
    pub to: Instant,
}

/// Maximum number of hooks in the log of one request. Long lists need more.
const MOST_HOOKS: usize = 64;

impl HookLog {
    /// Adds a hook, if there is room.
    pub fn note(&self, hook: AnsweredHook) {
        let mut hooks = self.0.lock();
        if hooks.len() < MOST_HOOKS {
            hooks.push(hook);
        }
    }

    /// The hooks so far.
    pub fn all(&self) -> Vec<AnsweredHook> {
        self.0.lock().clone()
    }

    /// Takes the hooks so far.
    pub fn take(&self) -> Vec<AnsweredHook> {
        std::mem::take(&mut *self.0.lock())
    }
}
