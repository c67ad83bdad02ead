//! An issuer of tokens, with metadata and a key set, which may be faulty. It records its requests, and it can be
//! stopped and started.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Interval at which the server checks for connections, and for its own end.
const GLANCE: Duration = Duration::from_millis(2);

/// An answer for a path.
#[derive(Clone, Debug)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// Headers besides `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// The delay of the answer.
    pub delay: Duration,
}

impl Page {
    /// A page with status 200 and this body.
    pub fn json(body: &Value) -> Self {
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        Self { status: 200, headers, body: body.to_string(), delay: Duration::ZERO }
    }

    /// The page with another header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The page with another status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The page after a delay.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// The server. It ends with the process.
#[derive(Clone, Debug)]
pub struct Issuer {
    address: String,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    pages: HashMap<String, Page>,
    asked: Vec<String>,
    is_there: bool,
}

impl Default for Issuer {
    fn default() -> Self {
        Self::start()
    }
}

impl Issuer {
    /// Starts a server without pages, on a free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Shared { pages: HashMap::new(), asked: Vec::new(), is_there: true };
        let issuer = Self { address, shared: Arc::new(Mutex::new(shared)) };
        let server = issuer.clone();
        thread::spawn(move || server.serve(listener));
        issuer
    }

    /// The issuer identifier, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the answer at `path` from now on.
    pub fn put(&self, path: &str, page: Page) {
        self.shared.lock().unwrap().pages.insert(path.to_owned(), page);
    }

    /// Publishes metadata as in RFC 8414, and these keys.
    pub fn publish(&self, keys: &[&Signer], cache_control: &str) {
        let url = self.url();
        let metadata = json!({ "issuer": url, "jwks_uri": format!("{url}/jwks") });
        self.put("/.well-known/oauth-authorization-server", Page::json(&metadata));
        let set = json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() });
        self.put("/jwks", Page::json(&set).with("Cache-Control", cache_control));
    }

    /// The paths of the requests so far, in order.
    pub fn requests(&self) -> Vec<String> {
        self.shared.lock().unwrap().asked.clone()
    }

    /// The number of requests for `path`.
    pub fn count(&self, path: &str) -> usize {
        self.requests().iter().filter(|place| *place == path).count()
    }

    /// Stops the server soon: nobody listens on its port then.
    pub fn go_away(&self) {
        self.shared.lock().unwrap().is_there = false;
    }

    /// Starts the server again soon, on the same port.
    pub fn come_back(&self) {
        self.shared.lock().unwrap().is_there = true;
    }

    fn serve(&self, first: TcpListener) {
        let mut listener = Some(first);
        loop {
            let is_there = self.shared.lock().unwrap().is_there;
            // Another program may have the port for a moment: the server then stays away for longer.
            listener = match listener {
                _ if !is_there => None,
                None => TcpListener::bind(&self.address).ok(),
                there => there,
            };
            if let Some(listener) = &listener {
                listener.set_nonblocking(true).unwrap();
                while let Ok((stream, _)) = listener.accept() {
                    let server = self.clone();
                    thread::spawn(move || server.converse(&stream));
                }
            }
            thread::sleep(GLANCE);
        }
    }

    /// Answers one request.
    fn converse(&self, mut stream: &TcpStream) {
        if stream.set_nonblocking(false).is_err() {
            return;
        }
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let Some(path) = lines.next().and_then(|line| Some(line.split(' ').nth(1)?.to_owned())) else {
            return;
        };
        lines.take_while(|line| !line.is_empty()).for_each(drop);
        let page = {
            let mut shared = self.shared.lock().unwrap();
            shared.asked.push(path.clone());
            shared.pages.get(&path).cloned()
        };
        let page = page.unwrap_or_else(|| Page::json(&json!({})).status(404));
        thread::sleep(page.delay);
        let headers: String =
            page.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "HTTP/1.1 {} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
            page.status,
            page.body.len()
        );
        // The client may have disconnected.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(page.body.as_bytes()));
    }
}

/// A key that signs by ES256.
#[derive(Debug)]
pub struct Signer {
    kid: String,
    pair: EcdsaKeyPair,
}

impl Signer {
    /// A new key.
    pub fn new(kid: impl Into<String>) -> Self {
        Self { kid: kid.into(), pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let b64 = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "kid": self.kid, "use": "sig", "x": b64(x), "y": b64(y) })
    }

    /// A token with these claims, valid for five minutes from now.
    pub fn token(&self, claims: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut all = json!({ "sub": "alice", "roles": ["staff"], "iat": now, "exp": now + 300 });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let header = json!({ "alg": "ES256", "kid": self.kid });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&header), encode(&all));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
