//! Metrics, readiness, log, alert rules and dashboard, as operators use them.

mod log;
mod metrics;
mod prometheus;
mod readiness;
mod traces;

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup};
use witgate_tests::wire::{Answer, Request};

const POLICIES: &str = "[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
                        [policies.rules]\nkind = 'rbac'\nconfig = { roles = { user = { allow = ['*'] } } }\n\
                        [pipeline]\nauthenticate = ['keys']\nauthorize = ['rules']\n";

/// A gateway with a key, and a caller with that key.
struct Observed {
    gateway: Running,
    key: String,
}

impl Observed {
    /// A gateway in front of `upstream`, a table of the configuration.
    fn start(upstream: &str) -> Self {
        Self::start_in(Setup::new(), upstream)
    }

    fn start_in(setup: Setup, upstream: &str) -> Self {
        Self::start_with(setup, upstream, "")
    }

    /// The same with more `settings` of the policy for keys.
    fn start_with(setup: Setup, upstream: &str, settings: &str) -> Self {
        let policies = POLICIES.replacen("kind = 'api-key'\n", &format!("kind = 'api-key'\n{settings}"), 1);
        setup.config("", &format!("{upstream}\n{policies}"));
        let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
        Self { gateway: setup.serve(), key }
    }

    fn request(&self, method: &str, params: Value) -> Request {
        Request::stateless(&self.gateway.address(), "/mcp", method, params).with("X-API-Key", &self.key)
    }

    fn call(&self, tool: &str) -> Answer {
        self.request("tools/call", json!({ "name": tool, "arguments": {} })).send()
    }

    /// A page of the admin listener, which answers 200.
    fn page(&self, path: &str) -> String {
        let url = self.gateway.admin_url();
        let answer = Request::new("GET", url.trim_start_matches("http://"), path).send();
        assert_eq!(answer.status, 200, "{answer:?}");
        String::from_utf8(answer.body).unwrap()
    }

    fn metrics(&self) -> String {
        self.page("/metrics")
    }
}
