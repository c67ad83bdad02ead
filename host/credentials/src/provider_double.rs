//! A provider for tests: a token endpoint on loopback that notes the forms of its requests.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use url::Url;

use witgate_config::credentials::{
    ClientProof, CredentialSettings, EqualSecret, GrantSettings, OutboundSource, Retrieval, TokenSettings,
};

pub(crate) type FormFields = BTreeMap<String, String>;
type Answers = dyn Fn(&FormFields, usize) -> (u16, String) + Send + Sync;

/// The provider.
#[derive(Clone)]
pub(crate) struct ProviderDouble {
    address: String,
    forms: Arc<Mutex<Vec<FormFields>>>,
}

impl ProviderDouble {
    /// Starts a provider that answers a form, and the number of those before it, with a status and a body.
    pub(crate) fn start(
        answer: impl Fn(&FormFields, usize) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let double = Self { address, forms: Arc::default() };
        let (server, answer): (_, Arc<Answers>) = (double.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (server, answer) = (server.clone(), Arc::clone(&answer));
                std::thread::spawn(move || server.converse(&stream, &*answer));
            }
        });
        double
    }

    /// The forms so far.
    pub(crate) fn forms(&self) -> Vec<FormFields> {
        self.forms.lock().clone()
    }

    fn converse(&self, mut stream: &TcpStream, answer: &Answers) -> Option<()> {
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
        let form: FormFields = url::form_urlencoded::parse(&body).into_owned().collect();
        let before = {
            let mut forms = self.forms.lock();
            forms.push(form.clone());
            forms.len() - 1
        };
        let (status, body) = answer(&form, before);
        let head =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).ok()
    }

    /// A credential at this provider, whose grants are in `state`.
    pub(crate) fn credential(&self, state: &Path) -> CredentialSettings {
        let url = |path: &str| Url::parse(&format!("http://{}/{path}", self.address)).unwrap();
        let token = TokenSettings {
            token_url: url("token"),
            issuer: "https://provider.example.com".into(),
            client_id: "gate".into(),
            proof: ClientProof::Post(Retrieval::Secret(EqualSecret("secret".into()))),
            scopes: vec!["repo".to_owned(), "read:user".to_owned()],
            audience: None,
            resource: None,
            refresh_before: Duration::from_secs(300),
        };
        let grant = GrantSettings {
            authorize_url: url("authorize"),
            token,
            issuer: None,
            params: BTreeMap::new(),
            redirect_uri: Url::parse("http://127.0.0.1/callback").unwrap(),
            account_url: None,
            connect: None,
            names_scopes: false,
            is_endless: false,
            state: state.to_owned(),
            file: None,
        };
        CredentialSettings {
            name: "hub".into(),
            header: AUTHORIZATION,
            prefix: "Bearer ".to_owned(),
            source: OutboundSource::Grant(Box::new(grant)),
        }
    }
}

/// The settings of the grant.
pub(crate) fn grant_of(credential: &mut CredentialSettings) -> &mut GrantSettings {
    match &mut credential.source {
        OutboundSource::Grant(grant) => grant,
        _ => unreachable!("it is made so"),
    }
}
