//! Identities by the API of GitHub, which issues no ID tokens.

use std::sync::Arc;

use http::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::fault::ProviderFault;
use super::person::{ProviderPerson, address, domain_of, is_fine};
use witgate_services::fetch::ask_about_account;
use witgate_services::network::Ways;

/// The users of GitHub.
pub(super) struct GithubUsers {
    pub(super) ways: Arc<Ways>,
    /// The URL of the user of a token.
    pub(super) user: Url,
    /// The organizations of which a membership counts.
    pub(super) organizations: Vec<String>,
    /// True if the address of e-mail counts.
    pub(super) needs_email: bool,
}

/// The user of a token. Names change hands; the number never does.
#[derive(Deserialize)]
struct GithubUser {
    id: u64,
    login: String,
}

#[derive(Deserialize)]
struct GithubEmail {
    email: String,
    primary: bool,
    verified: bool,
}

#[derive(Deserialize)]
struct GithubMembership {
    state: String,
}

impl GithubUsers {
    /// The person of an access token.
    pub(super) async fn person(&self, access: &SecretString) -> Result<ProviderPerson, ProviderFault> {
        let user: GithubUser = self.get(&self.user, access).await?.ok_or_else(|| unreadable("the user"))?;
        if !is_fine(&user.login) {
            return Err(unreadable("the user"));
        }
        let email = match self.needs_email {
            true => self.email(access).await?,
            false => None,
        };
        let mut organizations = Vec::new();
        for name in &self.organizations {
            if self.is_member(name, access).await? {
                organizations.push(name.clone());
            }
        }
        Ok(ProviderPerson {
            subject: user.id.to_string(),
            login: Some(user.login.to_ascii_lowercase()),
            name: user.login,
            domain: email.as_deref().and_then(domain_of),
            email,
            groups: Vec::new(),
            organizations,
        })
    }

    /// The primary address, if it is verified.
    async fn email(&self, access: &SecretString) -> Result<Option<String>, ProviderFault> {
        let addresses: Vec<GithubEmail> =
            self.get(&self.place(&["emails"])?, access).await?.unwrap_or_default();
        let primary = addresses.iter().find(|entry| entry.primary && entry.verified);
        Ok(primary.and_then(|entry| address(&entry.email)))
    }

    /// True if the person is an active member: one that is only invited is none.
    async fn is_member(&self, organization: &str, access: &SecretString) -> Result<bool, ProviderFault> {
        let place = self.place(&["memberships", "orgs", organization])?;
        let membership: Option<GithubMembership> = self.get(&place, access).await?;
        Ok(membership.is_some_and(|membership| membership.state == "active"))
    }

    /// A place below that of the user.
    fn place(&self, steps: &[&str]) -> Result<Url, ProviderFault> {
        let mut place = self.user.clone();
        place.path_segments_mut().map_err(|()| unreadable("the URL"))?.extend(steps);
        Ok(place)
    }

    /// The answer of the API at a place. None: the person has nothing there. A refusal (403, 429) says nothing about
    /// the person: it may be a limit of requests, which must not take roles away.
    async fn get<T: DeserializeOwned>(
        &self,
        place: &Url,
        access: &SecretString,
    ) -> Result<Option<T>, ProviderFault> {
        let answer = ask_about_account(&self.ways, place, access).await;
        let answer = answer.map_err(|error| ProviderFault::Unreachable(error.to_string()))?;
        match answer.status() {
            StatusCode::OK => {
                serde_json::from_slice(answer.body()).map(Some).map_err(|_| unreadable(place.path()))
            }
            StatusCode::NOT_FOUND | StatusCode::FOUND => Ok(None),
            status => {
                Err(ProviderFault::Unreachable(format!("HTTP {} for {}", status.as_u16(), place.path())))
            }
        }
    }
}

fn unreadable(what: &str) -> ProviderFault {
    ProviderFault::Unreachable(format!("{what} is not as GitHub writes it"))
}
