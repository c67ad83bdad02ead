//! A gateway with a policy of each shipped kind, as built-in and as component, and its callers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup};

use crate::caller::Caller;

/// The secret that signs tokens.
pub(super) const JWT_SECRET: &str = "a secret of the host that is long enough";

/// The client's secret at the authorization server.
pub(super) const CLIENT_SECRET: &str = "the-secret-of-the-introspecting-client";

/// An opaque token that the authorization server knows, and one that it does not.
pub(super) const OPAQUE: &str = "opaque-token-of-eve-4711-0815";
pub(super) const INACTIVE: &str = "opaque-token-that-has-ended-99";

/// A private datum of the caller.
pub(super) const EMAIL: &str = "ada.lovelace@example.com";

/// A gateway, and the keys of two callers.
pub(super) struct Testbed {
    pub(super) gateway: Running,
    pub(super) ada: String,
    pub(super) ben: String,
}

/// Two upstreams, `own` behind built-ins and `guest` behind components.
pub(super) const UPSTREAMS: [&str; 2] = ["own", "guest"];

/// The policies of each upstream, without their suffix.
pub(super) const POLICIES: [&str; 4] = ["keys", "tokens", "idp", "rules"];

impl Testbed {
    pub(super) fn start() -> Self {
        Self::start_with("")
    }

    /// With more in the configuration.
    pub(super) fn start_with(more: &str) -> Self {
        let setup = Setup::new().env("JWT_SECRET", JWT_SECRET).env("CLIENT_SECRET", CLIENT_SECRET);
        let endpoint = introspector();
        let mut config = "[keys.idp]\nsecret = { env = \"JWT_SECRET\" }\n".to_owned();
        for upstream in UPSTREAMS {
            config.push_str(&policies(upstream, &endpoint));
        }
        for kind in ["api-key", "jwt", "oauth2-introspection", "rbac"] {
            setup.component(kind);
        }
        setup.config("", &(config + more));
        let key = |name: &str| setup.key(&[name, "--policy", "keys-own", "--role", "user", "--allow", "*"]);
        let (ada, ben) = (key("ada"), key("ben"));
        Self { gateway: setup.serve(), ada, ben }
    }

    pub(super) fn url(&self, upstream: &str) -> String {
        format!("http://{}/{upstream}/mcp", self.gateway.address())
    }

    /// A token for one of the upstreams.
    pub(super) fn token(&self, upstream: &str, secret: &str) -> String {
        let claims = json!({
            "iss": "https://idp.example.com", "sub": "ada", "aud": self.url(upstream), "exp": now() + 600,
            "roles": ["user"], "email": EMAIL,
        });
        let key = EncodingKey::from_secret(secret.as_bytes()).unwrap();
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
    }

    /// Calls a tool with each kind of credential, valid and invalid, and returns the invalid key and the tokens.
    pub(super) async fn call(&self, upstream: &str) -> Vec<String> {
        let url = self.url(upstream);
        let stranger = format!("wg_{}", "Zz9".repeat(14));
        let good = self.token(upstream, JWT_SECRET);
        let bad = self.token(upstream, "another secret, which the host does not have");
        for key in [&self.ada, &self.ben, &self.ada, &stranger] {
            Caller::new(&url, Some(key)).call("echo", json!({ "text": "hello" })).await;
        }
        // What ada's key and roles do not allow.
        Caller::new(&url, Some(&self.ada)).call("add", json!({ "a": 1, "b": 2 })).await;
        for token in [&good, &bad, OPAQUE, OPAQUE, INACTIVE] {
            Caller::with_token(&url, token).call("echo", json!({ "text": "hello" })).await;
        }
        vec![stranger, good, bad]
    }

    /// Starts a recording, and returns once it runs.
    pub(super) fn record(&self, policy: &str, more: &[&str]) -> Recording {
        let before = self.gateway.log().matches(&began(policy)).count();
        let arguments = ["plugin", "record", "--json", "--policy", policy, "--out", "recorded"];
        let mut command = self.gateway.setup().command(&[&arguments, more].concat());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        witgate_tests::gateway::await_some("a recording", || {
            (self.gateway.log().matches(&began(policy)).count() > before).then_some(())
        });
        let file = self.gateway.setup().dir().join(format!("recorded/{policy}.toml"));
        Recording { child, file }
    }

    /// Runs the recorded cases against the same policies, or against others.
    pub(super) fn test(&self, recorded: &Recorded, more: &[&str]) -> Tested {
        let file = recorded.file.to_str().unwrap();
        let output = self.gateway.setup().run(&[&["plugin", "test", "--json", file], more].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let report = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
        Tested { code: output.status.code(), report }
    }
}

/// The log line that begins a recording.
fn began(policy: &str) -> String {
    format!("RECORDING: the calls of the policy are being recorded policy=\"{policy}\"")
}

/// A running `witgate plugin record`.
pub(super) struct Recording {
    child: Child,
    file: PathBuf,
}

/// The result of a recording.
pub(super) struct Recorded {
    pub(super) file: PathBuf,
    pub(super) text: String,
    pub(super) report: Value,
}

impl Recording {
    /// Ends the recording, as Ctrl-C does.
    pub(super) fn end(self) -> Recorded {
        self.signal("INT");
        self.wait()
    }

    pub(super) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end, whatever that is.
    pub(super) fn output(self) -> Output {
        self.child.wait_with_output().unwrap()
    }

    pub(super) fn wait(self) -> Recorded {
        let file = self.file.clone();
        let output = self.output();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stdout));
        let report = serde_json::from_slice(&output.stdout).unwrap();
        Recorded { text: std::fs::read_to_string(&file).unwrap(), file, report }
    }
}

/// The output of `witgate plugin test`.
pub(super) struct Tested {
    pub(super) code: Option<i32>,
    pub(super) report: Value,
}

impl Tested {
    /// The names of the cases that did not pass.
    pub(super) fn failed(&self) -> Vec<String> {
        let cases = self.report["cases"].as_array().unwrap();
        let failed = cases.iter().filter(|case| case["passed"] != true);
        failed.map(|case| case["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn policies(upstream: &str, endpoint: &str) -> String {
    let component = |kind: &str| match upstream {
        "guest" => format!("component = \"plugins/{kind}.wasm\"\nlimits = {{ timeout_ms = 20000 }}\n"),
        _ => String::new(),
    };
    format!(
        "[upstreams.{upstream}]\nown_tools = true\n\
         [upstreams.{upstream}.pipeline]\n\
         authenticate = [\"keys-{upstream}\", \"tokens-{upstream}\", \"idp-{upstream}\"]\n\
         authorize = [\"rules-{upstream}\"]\n\
         [policies.keys-{upstream}]\nkind = \"api-key\"\n{}config = {{ store = \"keys.toml\" }}\n\
         [policies.tokens-{upstream}]\nkind = \"jwt\"\n{}\
         config = {{ keys = [\"idp\"], algorithms = [\"HS256\"], issuer = \"https://idp.example.com\" }}\n\
         [policies.idp-{upstream}]\nkind = \"oauth2-introspection\"\n{}\
         [policies.idp-{upstream}.config]\nendpoint = \"{endpoint}\"\nclient_id = \"witgate\"\n\
         client_secret = {{ env = \"CLIENT_SECRET\" }}\n\
         audience = \"https://mcp.example.com\"\n\
         [policies.rules-{upstream}]\nkind = \"rbac\"\n{}\
         [policies.rules-{upstream}.config.roles.user]\nallow = [\"echo\", \"get_*\"]\n",
        component("api-key"),
        component("jwt"),
        component("oauth2-introspection"),
        component("rbac"),
    )
}

/// An introspection endpoint that knows one token.
fn introspector() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/introspect", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // The client may have disconnected.
            let _ = introspect(&stream);
        }
    });
    endpoint
}

fn introspect(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let answer = match String::from_utf8_lossy(&body).contains(OPAQUE) {
        true => json!({
            "active": true, "sub": "eve", "aud": "https://mcp.example.com", "exp": now() + 600,
            "roles": ["user"], "email": EMAIL, "username": "eve.online",
        }),
        false => json!({ "active": false }),
    };
    let answer = answer.to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    )
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
