//! A provider whose refresh tokens work once, as those of GitHub Apps.

use std::process::Output;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::json;
use witgate_testing::http_double::{HttpDouble, HttpDoubleAnswer, HttpDoubleRequest};
use witgate_tests::gateway::Setup;

/// The provider. It ends with the process.
#[derive(Clone)]
pub(super) struct Provider {
    server: HttpDouble,
    state: Arc<Mutex<ProviderState>>,
}

#[derive(Default)]
struct ProviderState {
    /// The number of the refresh token that works.
    current: u64,
    /// The number of refresh tokens that have been used.
    refreshed: u64,
}

impl Provider {
    /// Starts a provider whose access tokens have this lifetime. The receiver gets a value after each answer with tokens.
    pub(super) fn start(lifetime_s: u64) -> (Self, Receiver<()>) {
        let (answered, answers) = channel();
        let state = Arc::<Mutex<ProviderState>>::default();
        let of_server = Arc::clone(&state);
        let server = HttpDouble::start(move |request| {
            of_server.lock().unwrap().refresh(request, lifetime_s, &answered)
        });
        (Self { server, state }, answers)
    }

    /// The credential `hub` at this provider.
    pub(super) fn credential(&self) -> String {
        format!(
            "[credentials.hub]\nkind = 'oauth'\npreset = 'custom'\nclient_id = 'gate'\n\
             authorize_url = '{}'\ntoken_url = '{}'\n",
            self.server.url("/authorize"),
            self.server.url("/token"),
        )
    }

    /// The number of refresh tokens that have been used.
    pub(super) fn refreshed(&self) -> u64 {
        self.state.lock().unwrap().refreshed
    }

    /// Issues a refresh token to the configuration of `setup`. The access token beside it has ended.
    pub(super) fn log_in(&self, setup: &Setup) {
        let refresh = {
            let mut state = self.state.lock().unwrap();
            state.current += 1;
            refresh_token(state.current)
        };
        let arguments = ["--access-token-env", "ACCESS_TOKEN", "--refresh-token-env", "REFRESH_TOKEN"];
        let mut command = setup.command(&[&["credential", "import", "hub"], &arguments[..]].concat());
        let output =
            command.env("ACCESS_TOKEN", "access-token-0").env("REFRESH_TOKEN", refresh).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl ProviderState {
    /// New tokens, if the current refresh token is shown. `answered` gets a value when they are sent.
    fn refresh(
        &mut self,
        request: &HttpDoubleRequest,
        lifetime_s: u64,
        answered: &Sender<()>,
    ) -> HttpDoubleAnswer {
        let body = String::from_utf8_lossy(&request.body);
        let shown = body.split('&').find_map(|field| field.strip_prefix("refresh_token="));
        if shown != Some(&*refresh_token(self.current)) {
            return HttpDoubleAnswer::json(400, json!({ "error": "invalid_grant" }).to_string());
        }
        self.current += 1;
        self.refreshed += 1;
        let answer = json!({
            "access_token": format!("access-token-{}", self.current),
            "refresh_token": refresh_token(self.current),
            "token_type": "Bearer",
            "expires_in": lifetime_s,
        });
        HttpDoubleAnswer::json(200, answer.to_string()).telling(answered.clone())
    }
}

fn refresh_token(number: u64) -> String {
    format!("refresh-token-{number}")
}

/// The output of a command as a text.
pub(super) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
