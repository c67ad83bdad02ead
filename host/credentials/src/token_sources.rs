//! The issuers of tokens: the token endpoint of an authorization server, and Witgate itself.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::json;
use url::Url;

use crate::client::{SecretError, client};
use crate::fault::OutboundProblem;
use crate::token_answer::{self, AccessToken};
use crate::token_keeper::{TokenOrder, TokenSource};
use witgate_base::clock;
use witgate_base::signing::Signer;
use witgate_config::credentials::GrantSettings;
use witgate_services::fetch::{TokenClient, ask_token_endpoint};
use witgate_services::network::Ways;

/// A token endpoint (RFC 6749, section 3.2), with the form of its requests.
#[derive(Clone)]
pub(crate) struct TokenEndpoint {
    pub(crate) ways: Arc<Ways>,
    pub(crate) url: Url,
    pub(crate) client: TokenClient,
    pub(crate) fields: Vec<(&'static str, String)>,
    /// The lifetime of a token whose answer names none. None: it has no end.
    pub(crate) usual: Option<Duration>,
}

/// The lifetime of a token whose answer names none, where it has an end. Most providers issue tokens for an hour.
const USUAL_LIFETIME: Duration = Duration::from_secs(3600);

/// The type of a caller's token (RFC 8693, section 3).
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

impl TokenEndpoint {
    /// The endpoint for the grant of a person.
    pub(crate) fn of_grant(settings: &GrantSettings, ways: &Arc<Ways>) -> Result<Self, SecretError> {
        let (ways, url) = (Arc::clone(ways), settings.token.token_url.clone());
        let fields = settings.token.resource.iter().map(|resource| ("resource", resource.clone())).collect();
        let usual = (!settings.is_endless).then_some(USUAL_LIFETIME);
        Ok(Self { ways, url, client: client(&settings.token)?, fields, usual })
    }

    /// The token for a request with these fields, in addition to its own.
    pub(crate) async fn ask(&self, fields: &[(&str, &str)]) -> Result<AccessToken, OutboundProblem> {
        let issued = self.answer(fields).await?;
        issued.flaw.map_or(Ok(issued), |flaw| Err(OutboundProblem::Refused { error: flaw.into() }))
    }

    /// The same, with an access token that may have a flaw.
    pub(crate) async fn answer(&self, fields: &[(&str, &str)]) -> Result<AccessToken, OutboundProblem> {
        let own = self.fields.iter().map(|(name, value)| (*name, value.as_str()));
        let fields: Vec<_> = own.chain(fields.iter().copied()).collect();
        let answer = ask_token_endpoint(&self.ways, &self.url, &fields, &self.client).await;
        let answer = answer.map_err(|error| OutboundProblem::unreachable(error.to_string()))?;
        let issued = token_answer::read(answer.status(), answer.body())?;
        Ok(AccessToken { lifetime: issued.lifetime.or(self.usual), ..issued })
    }
}

impl TokenSource for TokenEndpoint {
    fn issue(&self, order: TokenOrder) -> BoxFuture<'static, Result<AccessToken, OutboundProblem>> {
        let endpoint = self.clone();
        Box::pin(async move {
            let of_caller = order.caller.iter().flat_map(|caller| {
                [("subject_token", caller.expose()), ("subject_token_type", ACCESS_TOKEN)]
            });
            let fields: Vec<_> = of_caller.collect();
            endpoint.ask(&fields).await
        })
    }
}

/// A token that Witgate signs for one audience.
pub(crate) struct SignedToken {
    pub(crate) signer: Arc<Signer>,
    pub(crate) audience: String,
    pub(crate) subject: String,
    pub(crate) lifetime: Duration,
}

impl SignedToken {
    fn sign(&self) -> Result<AccessToken, OutboundProblem> {
        let now = clock::since_epoch();
        let claims = json!({
            "iss": self.signer.issuer(),
            "sub": self.subject,
            "aud": self.audience,
            "iat": now.as_secs(),
            "exp": (now + self.lifetime).as_secs(),
            "jti": unique().ok_or_else(|| OutboundProblem::unreachable("there are no random numbers".to_owned()))?,
        });
        let signed = self.signer.sign(&claims);
        let access = signed.map_err(|error| OutboundProblem::unreachable(error.to_string()))?.into();
        Ok(AccessToken::of(access, Some(self.lifetime)))
    }
}

impl TokenSource for SignedToken {
    fn issue(&self, _: TokenOrder) -> BoxFuture<'static, Result<AccessToken, OutboundProblem>> {
        Box::pin(std::future::ready(self.sign()))
    }
}

/// A unique id: 128 random bits.
fn unique() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}
