//! The server's tools. They know neither keys nor rules.

use std::sync::Arc;

use http::request::Parts;
use rmcp::handler::server::common::Extension;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{Implementation, ServerCapabilities, ServerConfig};
use rmcp::{ServerHandler, schemars, tool, tool_handler, tool_router};
use serde::Deserialize;
use witgate::embed::Caller;

/// The tools.
#[derive(Clone, Debug)]
pub(crate) struct Tools;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct Name {
    /// The name of the person to greet.
    name: String,
}

#[tool_router]
impl Tools {
    #[tool(description = "Greets somebody")]
    fn get_greeting(&self, Parameters(Name { name }): Parameters<Name>) -> String {
        format!("Hello, {name}")
    }

    #[tool(description = "Says who calls, as Witgate has found out")]
    fn get_caller(&self, Extension(request): Extension<Parts>) -> String {
        match request.extensions.get::<Arc<Caller>>() {
            Some(caller) => format!("{}, proven by {}", caller.identity().subject, caller.proven_by()),
            None => "nobody".to_owned(),
        }
    }

    #[tool(description = "Deletes everything, or says so")]
    fn delete_everything(&self) -> String {
        "everything is gone".to_owned()
    }
}

#[tool_handler]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("embed-rmcp", env!("CARGO_PKG_VERSION")))
    }
}
