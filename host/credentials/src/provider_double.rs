//! A provider for tests: a token endpoint on loopback that notes the forms of its requests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use url::Url;

use witgate_config::credentials::{
    ClientProof, CredentialSettings, EqualSecret, GrantSettings, OutboundSource, Retrieval, TokenSettings,
};
use witgate_testing::http_double::{HttpDouble, HttpDoubleAnswer};

pub(crate) type FormFields = BTreeMap<String, String>;

/// The provider.
#[derive(Clone)]
pub(crate) struct ProviderDouble {
    server: HttpDouble,
    forms: Arc<Mutex<Vec<FormFields>>>,
}

impl ProviderDouble {
    /// Starts a provider that answers a form, and the number of those before it, with a status and a body.
    pub(crate) fn start(
        answer: impl Fn(&FormFields, usize) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let forms = Arc::<Mutex<Vec<FormFields>>>::default();
        let seen = Arc::clone(&forms);
        let server = HttpDouble::start(move |request| {
            let form: FormFields = url::form_urlencoded::parse(&request.body).into_owned().collect();
            let before = {
                let mut seen = seen.lock();
                seen.push(form.clone());
                seen.len() - 1
            };
            let (status, body) = answer(&form, before);
            HttpDoubleAnswer::new(status, body)
        });
        Self { server, forms }
    }

    /// The forms so far.
    pub(crate) fn forms(&self) -> Vec<FormFields> {
        self.forms.lock().clone()
    }

    /// A credential at this provider, whose grants are in `state`.
    pub(crate) fn credential(&self, state: &Path) -> CredentialSettings {
        let url = |path: &str| Url::parse(&self.server.url(&format!("/{path}"))).unwrap();
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
