//! Identities by ID tokens of OpenID Connect. The `jwt` policy judges a token: its signature by the keys of the issuer,
//! and issuer, audience and time.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use url::Url;
use witgate_jwt::{Algorithm, Config, Jwt};
use witgate_plugin::{Dpop, NoIdentity, OneOrMany, Plugin as _, RequiredClaims, RolesClaim};

use super::fault::ProviderFault;
use super::person::ProviderPerson;
use witgate_config::KeyPlace;
use witgate_config::account_logins::{ProviderForm, ProviderSettings};
use witgate_credentials::login::LoginTokens;
use witgate_services::fetch::ask_about_account;
use witgate_services::jwks::RemoteJwks;
use witgate_services::keys::{Key, Keyring};
use witgate_services::network::Ways;
use witgate_services::{PolicyHost, Services};

/// The algorithms of signatures. A shared secret would be that of the client.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The tolerance for the clock of the issuer, in seconds.
const LEEWAY_S: u32 = 60;

/// The time for which keys are used beyond their lifetime while the issuer does not answer. Nobody can log in there then
/// anyway.
const MAX_STALE: Duration = Duration::ZERO;

/// The ID tokens of one issuer for one client.
pub(super) struct IdTokens {
    policy: Jwt,
    services: Services,
    client: Arc<str>,
    ways: Arc<Ways>,
    userinfo: Option<Url>,
    has_hosted_domain: bool,
}

impl IdTokens {
    /// # Errors
    /// If the settings cannot be used.
    pub(super) fn new(settings: &ProviderSettings, ways: &Arc<Ways>) -> Result<Self, String> {
        let (issuer, client) = (&settings.issuer, &settings.client.token.client_id);
        let (userinfo, has_hosted_domain) = match &settings.form {
            ProviderForm::OpenId { userinfo, has_hosted_domain } => (userinfo.clone(), *has_hosted_domain),
            ProviderForm::Github { .. } => (None, false),
        };
        let (policy, wants) =
            Jwt::configure(&settings.name, config(issuer, client)).map_err(|error| error.to_string())?;
        let set = RemoteJwks::new(&KeyPlace::Issuer(issuer.clone()), Arc::clone(ways));
        let keys = HashMap::from([(issuer.clone(), Arc::new(Key::Remote { set, max_stale: MAX_STALE }))]);
        let wants = OnceLock::from(wants);
        let services = Services { keys: Keyring::new(keys), wants, ..Services::bare(&settings.name) };
        let (client, ways) = (Arc::clone(client), Arc::clone(ways));
        Ok(Self { policy, services, client, ways, userinfo, has_hosted_domain })
    }

    /// The person of a login with this nonce.
    pub(super) async fn person(
        &self,
        tokens: &LoginTokens,
        nonce: &str,
    ) -> Result<ProviderPerson, ProviderFault> {
        let id_token = tokens.id_token.as_ref().ok_or_else(|| distrust("there is no ID token"))?;
        let mut claims = self.claims(id_token).await?;
        self.judge_login(&claims, nonce)?;
        if let Some(url) = &self.userinfo {
            add(&mut claims, self.further_claims(url, &tokens.access).await?)?;
        }
        ProviderPerson::of_claims(&claims, self.has_hosted_domain)
            .ok_or_else(|| distrust("there is no `sub`"))
    }

    async fn claims(&self, id_token: &SecretString) -> Result<Map<String, Value>, ProviderFault> {
        let host = PolicyHost { services: &self.services, scope: None };
        let identity = self.policy.judge_id_token(&host, id_token.expose_secret()).await;
        let identity = identity.map_err(|no| match no {
            NoIdentity::NotMine => distrust("it is of another issuer, or no ID token"),
            NoIdentity::Refused(refusal) => {
                distrust(&format!("{} {}", refusal.reason, refusal.detail.unwrap_or_default()))
            }
            NoIdentity::Unavailable(unavailability) => ProviderFault::Unreachable(unavailability.detail),
        })?;
        let claims = identity.claims.and_then(|claims| serde_json::from_str(&claims).ok());
        claims.ok_or_else(|| distrust("it has no claims"))
    }

    /// Checks that the token is for this login (OpenID Connect Core, section 3.1.3.7).
    fn judge_login(&self, claims: &Map<String, Value>, nonce: &str) -> Result<(), ProviderFault> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("nonce") != Some(nonce) {
            return Err(distrust("its `nonce` is of another login"));
        }
        let has_others = matches!(claims.get("aud"), Some(Value::Array(several)) if several.len() > 1);
        match (claims.get("azp"), text("azp")) {
            (None, _) if !has_others => Ok(()),
            (Some(_), Some(party)) if *party == *self.client => Ok(()),
            _ => Err(distrust("it was issued to another client")),
        }
    }

    async fn further_claims(
        &self,
        url: &Url,
        access: &SecretString,
    ) -> Result<Map<String, Value>, ProviderFault> {
        let answer = ask_about_account(&self.ways, url, access).await;
        let answer = answer.map_err(|error| ProviderFault::Unreachable(error.to_string()))?;
        if !answer.status().is_success() {
            return Err(ProviderFault::Unreachable(format!(
                "HTTP {} for further claims",
                answer.status().as_u16()
            )));
        }
        serde_json::from_slice(answer.body()).map_err(|_| distrust("its further claims are not JSON"))
    }
}

fn config(issuer: &str, client: &str) -> Config {
    Config {
        keys: Vec::new(),
        algorithms: ALGORITHMS.to_vec(),
        issuer: Some(OneOrMany(vec![issuer.to_owned()])),
        audience: Some(OneOrMany(vec![client.to_owned()])),
        audience_claim: None,
        leeway_s: LEEWAY_S,
        required_claims: RequiredClaims::There(["sub", "iat", "nonce"].map(str::to_owned).to_vec()),
        subject_claim: Some("sub".to_owned()),
        roles_claim: RolesClaim::Several(Vec::new()),
        roles_are_keys: false,
        only_roles: None,
        scopes_claim: None,
        typ: None,
        access_tokens_have_at_hash: true,
        revoked: None,
        header: None,
        dpop: Dpop::Off,
    }
}

/// Adds claims that the ID token has not, if they are of the same person (OpenID Connect Core, section 5.3.2).
fn add(claims: &mut Map<String, Value>, further: Map<String, Value>) -> Result<(), ProviderFault> {
    if further.get("sub").is_none_or(|sub| claims.get("sub") != Some(sub)) {
        return Err(distrust("its further claims are of another person"));
    }
    // An address and whether it is verified come from one source.
    let of_address = ["email", "email_verified"];
    let has_address = of_address.iter().any(|name| claims.contains_key(*name));
    for (name, value) in further {
        if !(has_address && of_address.contains(&name.as_str())) {
            claims.entry(name).or_insert(value);
        }
    }
    Ok(())
}

fn distrust(why: &str) -> ProviderFault {
    ProviderFault::Token(why.to_owned())
}
