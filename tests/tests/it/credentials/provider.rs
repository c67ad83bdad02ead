//! A provider whose refresh tokens work once, as those of GitHub Apps.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::json;
use witgate_tests::gateway::Setup;

/// The provider. It ends with the process.
#[derive(Clone)]
pub(super) struct Provider {
    address: String,
    lifetime_s: u64,
    state: Arc<Mutex<ProviderState>>,
    answered: Sender<()>,
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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (answered, answers) = channel();
        let provider = Self { address, lifetime_s, state: Arc::default(), answered };
        let server = provider.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.converse(&stream));
            }
        });
        (provider, answers)
    }

    /// The credential `hub` at this provider.
    pub(super) fn credential(&self) -> String {
        format!(
            "[credentials.hub]\nkind = 'oauth'\npreset = 'custom'\nclient_id = 'gate'\n\
             authorize_url = 'http://{0}/authorize'\ntoken_url = 'http://{0}/token'\n",
            self.address
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
            self.refresh_token(state.current)
        };
        let arguments = ["--access-token-env", "ACCESS_TOKEN", "--refresh-token-env", "REFRESH_TOKEN"];
        let mut command = setup.command(&[&["credential", "import", "hub"], &arguments[..]].concat());
        let output =
            command.env("ACCESS_TOKEN", "access-token-0").env("REFRESH_TOKEN", refresh).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn refresh_token(&self, number: u64) -> String {
        format!("refresh-token-{number}")
    }

    fn converse(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        let shown = body.split('&').find_map(|field| field.strip_prefix("refresh_token="))?;
        let next = {
            let mut state = self.state.lock().unwrap();
            let is_current = shown == self.refresh_token(state.current);
            if is_current {
                state.current += 1;
                state.refreshed += 1;
            }
            is_current.then_some(state.current)
        };
        let (status, answer) = match next {
            Some(number) => (
                200,
                json!({
                    "access_token": format!("access-token-{number}"),
                    "refresh_token": self.refresh_token(number),
                    "token_type": "Bearer",
                    "expires_in": self.lifetime_s,
                }),
            ),
            None => (400, json!({ "error": "invalid_grant" })),
        };
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            answer.len()
        );
        let written = stream.write_all((head + &answer).as_bytes()).ok();
        if next.is_some() {
            let _ = self.answered.send(());
        }
        written
    }
}

/// The output of a command as a text.
pub(super) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
