//! The own tools about callers, which other parts of the program answer: they know accounts and the audit log.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use witgate_config::OwnTool;
use witgate_flow::authenticate::identity::Caller;
use witgate_flow::limit::Admitted;

/// The data of an answer, or a sentence for the caller about why there is none.
pub type CallerAnswer = Result<Value, String>;

/// An admitted call of an own tool.
#[derive(Clone, Debug)]
pub struct CallerQuestion {
    /// The tool.
    pub tool: OwnTool,
    /// The caller.
    pub caller: Arc<Caller>,
    /// The arguments, as JSON.
    pub arguments: Option<String>,
    /// The address of the sender.
    pub peer: Option<IpAddr>,
}

impl CallerQuestion {
    /// The question of an admitted call. A read of a resource is the call of a tool without arguments.
    pub(super) fn of(tool: OwnTool, admitted: &Admitted) -> Self {
        let request = admitted.request();
        Self {
            tool,
            caller: Arc::clone(admitted.permit().caller()),
            arguments: request.call.arguments().map(str::to_owned),
            peer: request.peer,
        }
    }
}

/// Answers questions of callers.
pub trait CallerTools: Send + Sync {
    /// The answer.
    fn answer(&self, question: CallerQuestion) -> BoxFuture<'_, CallerAnswer>;
}
