//! A provider of accounts: a page that logs everybody in, a token endpoint that checks PKCE and rotates refresh tokens, and
//! an MCP server that accepts its current access token only.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::recorder::answer;

/// The fields of a form or a query.
pub type FormFields = BTreeMap<String, String>;

/// The provider. It ends with the process.
#[derive(Clone, Debug)]
pub struct Provider {
    address: String,
    shared: Arc<Mutex<ProviderState>>,
}

#[derive(Debug, Default)]
struct ProviderState {
    /// The login of each code that was not redeemed.
    logins: BTreeMap<String, FormFields>,
    /// The number of the current tokens. 0: there are none.
    number: u32,
    lifetime: Option<u64>,
    forms: Vec<FormFields>,
    calls: Vec<String>,
    refuses_codes: bool,
    /// True if the current access token is refused.
    is_forgotten: bool,
    /// True if the current refresh token is refused, too.
    has_ended: bool,
}

impl Default for Provider {
    fn default() -> Self {
        Self::start()
    }
}

impl Provider {
    /// Starts a provider on a free port, whose access tokens live for an hour.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = ProviderState { lifetime: Some(3600), ..ProviderState::default() };
        let provider = Self { address, shared: Arc::new(Mutex::new(state)) };
        let server = provider.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                thread::spawn(move || server.converse(&stream));
            }
        });
        provider
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Issues access tokens with this lifetime in seconds from now on. None: without one.
    pub fn issue_for(&self, lifetime: Option<u64>) {
        self.state(|state| state.lifetime = lifetime);
    }

    /// Refuses all codes from now on.
    pub fn refuse_codes(&self) {
        self.state(|state| state.refuses_codes = true);
    }

    /// Makes the current access token invalid. Its refresh token stays good.
    pub fn forget_access(&self) {
        self.state(|state| state.is_forgotten = true);
    }

    /// Ends the login: no refresh token is accepted from now on.
    pub fn end(&self) {
        self.state(|state| {
            state.is_forgotten = true;
            state.has_ended = true;
        });
    }

    /// Issues tokens without a login: access and refresh token.
    pub fn issue(&self) -> [String; 2] {
        self.state(|state| {
            state.number += 1;
            [access(state.number), refresh(state.number)]
        })
    }

    /// The forms at the token endpoint so far.
    pub fn forms(&self) -> Vec<FormFields> {
        self.state(|state| state.forms.clone())
    }

    /// The number of refresh tokens that were redeemed, or tried.
    pub fn refreshes(&self) -> usize {
        let is_refresh = |form: &&FormFields| form.get("grant_type").is_some_and(|it| it == "refresh_token");
        self.forms().iter().filter(is_refresh).count()
    }

    /// The values of `Authorization` at the MCP server so far.
    pub fn calls(&self) -> Vec<String> {
        self.state(|state| state.calls.clone())
    }

    /// The access token that the MCP server accepts now, with the text before it.
    pub fn bearer(&self) -> String {
        self.state(|state| format!("Bearer {}", access(state.number)))
    }

    fn state<T>(&self, work: impl FnOnce(&mut ProviderState) -> T) -> T {
        work(&mut self.shared.lock().unwrap())
    }

    fn converse(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let request = ProviderRequest::read(&mut reader)?;
            let (status, header, body) = self.respond(&request);
            let head = format!("HTTP/1.1 {status} X\r\n{header}Content-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).ok()?;
        }
    }

    /// The status, further headers, and the body.
    fn respond(&self, request: &ProviderRequest) -> (u16, String, String) {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        match path {
            "/authorize" => self.state(|state| state.log_in(fields(query.as_bytes()))),
            "/token" => {
                let form = fields(&request.body);
                let (status, answer) = self.state(|state| state.issue(form));
                (status, "Content-Type: application/json\r\n".to_owned(), answer.to_string())
            }
            "/mcp" => self.state(|state| state.call(request)),
            _ => (404, String::new(), String::new()),
        }
    }
}

impl ProviderState {
    /// Leads back with a code (RFC 6749, section 4.1.2).
    fn log_in(&mut self, login: FormFields) -> (u16, String, String) {
        let is_s256 = login.get("code_challenge_method").is_some_and(|method| method == "S256");
        let (Some(redirect), Some(state), true) = (login.get("redirect_uri"), login.get("state"), is_s256)
        else {
            return (400, String::new(), "a redirect, a state and S256 are needed".to_owned());
        };
        let code = format!("code-{}-0123456789abcdef", self.logins.len() + self.forms.len());
        let location = format!("{redirect}?code={code}&state={state}");
        self.logins.insert(code, login);
        (302, format!("Location: {location}\r\n"), String::new())
    }

    fn issue(&mut self, form: FormFields) -> (u16, Value) {
        let is_good = match form.get("grant_type").map(String::as_str) {
            Some("authorization_code") => self.redeems(&form),
            Some("refresh_token") => {
                // Each works once.
                !self.has_ended && form.get("refresh_token") == Some(&refresh(self.number))
            }
            _ => false,
        };
        self.forms.push(form);
        if !is_good {
            return (400, json!({ "error": "invalid_grant" }));
        }
        self.number += 1;
        self.is_forgotten = false;
        let (access, refresh) = (access(self.number), refresh(self.number));
        let mut answer = json!({ "access_token": access, "refresh_token": refresh, "token_type": "Bearer" });
        if let Some(lifetime) = self.lifetime {
            answer["expires_in"] = lifetime.into();
        }
        (200, answer)
    }

    /// A code is good once, for the redirect of its login and with the verifier of its challenge (RFC 7636).
    fn redeems(&mut self, form: &FormFields) -> bool {
        let Some(login) = form.get("code").and_then(|code| self.logins.remove(code)) else { return false };
        let verifier = form.get("code_verifier").map(String::as_str).unwrap_or_default();
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        !self.refuses_codes
            && login["code_challenge"] == challenge
            && form.get("redirect_uri") == login.get("redirect_uri")
            && form.get("client_id") == login.get("client_id")
    }

    fn call(&mut self, request: &ProviderRequest) -> (u16, String, String) {
        self.calls.push(request.authorization.clone());
        let is_refused = self.number == 0 || self.is_forgotten;
        if is_refused || request.authorization != format!("Bearer {}", access(self.number)) {
            return (401, "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n".to_owned(), String::new());
        }
        let message = serde_json::from_slice::<Value>(&request.body).ok();
        match message.as_ref().and_then(answer) {
            Some(answer) => (200, "Content-Type: application/json\r\n".to_owned(), answer.to_string()),
            None => (202, String::new(), String::new()),
        }
    }
}

fn access(number: u32) -> String {
    format!("access-{number}-0123456789abcdefghijklmnop")
}

fn refresh(number: u32) -> String {
    format!("refresh-{number}-0123456789abcdefghijklmnop")
}

fn fields(text: &[u8]) -> FormFields {
    form_urlencoded::parse(text).into_owned().collect()
}

struct ProviderRequest {
    target: String,
    authorization: String,
    body: Vec<u8>,
}

impl ProviderRequest {
    fn read(reader: &mut impl BufRead) -> Option<Self> {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let target = line.split(' ').nth(1)?.to_owned();
        let (mut authorization, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "authorization" => value.trim().clone_into(&mut authorization),
                "content-length" => length = value.trim().parse().ok()?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(Self { target, authorization, body })
    }
}
