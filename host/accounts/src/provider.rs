//! Providers at which people log in, in place of a password. A login begins and ends in one browser, and the provider
//! says who the person is. Which account is theirs, and whether they may have one, is decided here.

mod fault;
mod github;
mod open_logins;
mod openid;
mod person;

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use witgate_plugin::Digest;

pub(crate) use self::fault::{ProviderFault, ProviderNotice};
use self::github::GithubUsers;
use self::open_logins::{OpenLogin, OpenLogins};
use self::openid::IdTokens;
use self::person::ProviderPerson;
use crate::database::identities::{ProviderArrival, RefusedArrival};
use crate::random;
use witgate_base::breaker::CallerDigest;
use witgate_base::digest::sha256;
use witgate_config::account_logins::{PersonRule, ProviderForm, ProviderSettings};
use witgate_credentials::login::{Login, LoginTokens};
use witgate_runtime::shares::{Capacity, Shares};
use witgate_services::network::Ways;

/// The answers of providers that are looked at at the same time, of all senders and of one.
const AT_ONCE: Capacity = Capacity { most: 16, most_of_one: 4 };

/// The longest request of a client after which a browser goes on, in bytes. No valid one is longer.
const LONGEST_NEXT: usize = 8 << 10;

/// The providers.
pub(crate) struct Providers {
    providers: Vec<LoginProvider>,
    open_logins: OpenLogins,
    places: Shares<CallerDigest>,
}

/// A provider.
struct LoginProvider {
    name: Arc<str>,
    settings: ProviderSettings,
    ways: Arc<Ways>,
    identities: IdentitySource,
}

/// The source that says who somebody is.
enum IdentitySource {
    OpenId(Box<IdTokens>),
    Github(GithubUsers),
}

/// The browser in which a login begins, with the request of a client after which it goes on.
#[derive(Clone, Copy)]
pub(crate) struct LoginBrowser<'a> {
    pub(crate) secret: &'a SecretString,
    pub(crate) next: &'a str,
    pub(crate) source: CallerDigest,
}

/// Somebody whom a provider knows and who may log in here, unless there is no account.
pub(crate) struct ProvenArrival {
    pub(crate) arrival: ProviderArrival,
    /// The request of a client after which the browser goes on.
    pub(crate) next: String,
}

impl Providers {
    /// The providers of these settings. One that cannot be used is left out.
    pub(crate) fn new(settings: &[ProviderSettings], ways: &Arc<Ways>) -> Self {
        let made = |settings: &ProviderSettings| match LoginProvider::new(settings, ways) {
            Ok(provider) => Some(provider),
            Err(error) => {
                tracing::error!(provider = %settings.name, "nobody can log in at this provider: {error}");
                None
            }
        };
        Self {
            providers: settings.iter().filter_map(made).collect(),
            open_logins: OpenLogins::default(),
            places: Shares::new(AT_ONCE),
        }
    }

    /// The names of the providers, each with its name for people.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.providers.iter().map(|provider| (&*provider.name, provider.settings.label.as_str()))
    }

    /// Begins a login at the provider with this number. Returns the address of its page.
    pub(crate) fn begin(&self, provider: usize, browser: LoginBrowser<'_>) -> Result<Url, ProviderFault> {
        let found = self.providers.get(provider).ok_or(ProviderFault::Mismatch)?;
        if browser.next.len() > LONGEST_NEXT {
            return Err(ProviderFault::LongRequest);
        }
        let nonce = random::text().map_err(ProviderFault::Store)?;
        let login = found.login(&nonce)?;
        let (url, state) = (login.url(), sha256(login.state().as_bytes()));
        self.open_logins.add(
            state,
            OpenLogin {
                provider,
                login,
                nonce,
                browser: digest_of(browser.secret),
                next: browser.next.to_owned(),
                source: browser.source,
            },
        );
        Ok(url)
    }

    /// The end of a login: the provider with this number has led the browser with this secret back, with `query`.
    pub(crate) async fn finish(
        &self,
        provider: usize,
        query: &str,
        (secret, source): (&SecretString, CallerDigest),
    ) -> Result<ProvenArrival, ProviderFault> {
        let found = self.providers.get(provider).ok_or(ProviderFault::Mismatch)?;
        let state = state_in(query).ok_or(ProviderFault::Mismatch)?;
        let login = self.open_logins.take(&sha256(state.as_bytes()), &digest_of(secret));
        // The answer of one provider at the place of another one is mixed up, even in the same browser.
        let login = login.filter(|login| login.provider == provider).ok_or(ProviderFault::Mismatch)?;
        let _place = self.places.take(&source).ok_or(ProviderFault::Busy)?;
        let code = login.login.code(&format!("?{query}"))?;
        let tokens = login.login.tokens(&code).await?;
        let person = found.person(&tokens, &login.nonce).await?;
        Ok(ProvenArrival { arrival: found.admit(&person)?, next: login.next })
    }
}

impl LoginProvider {
    fn new(settings: &ProviderSettings, ways: &Arc<Ways>) -> Result<Self, String> {
        let identities = match &settings.form {
            ProviderForm::OpenId { .. } => IdentitySource::OpenId(Box::new(IdTokens::new(settings, ways)?)),
            ProviderForm::Github { user, organizations, needs_email } => {
                IdentitySource::Github(GithubUsers {
                    ways: Arc::clone(ways),
                    user: user.clone(),
                    organizations: organizations.clone(),
                    needs_email: *needs_email,
                })
            }
        };
        let (name, settings, ways) = (settings.name.as_str().into(), settings.clone(), Arc::clone(ways));
        Ok(Self { name, settings, ways, identities })
    }

    fn login(&self, nonce: &str) -> Result<Login, ProviderFault> {
        let mut client = self.settings.client.clone();
        if matches!(self.identities, IdentitySource::OpenId(_)) {
            client.params.insert("nonce".to_owned(), nonce.to_owned());
        }
        Ok(Login::of_grant(&self.name, client, &self.ways, self.settings.redirect_uri.clone())?)
    }

    async fn person(&self, tokens: &LoginTokens, nonce: &str) -> Result<ProviderPerson, ProviderFault> {
        match &self.identities {
            IdentitySource::OpenId(tokens_of_issuer) => tokens_of_issuer.person(tokens, nonce).await,
            IdentitySource::Github(users) => users.person(&tokens.access).await,
        }
    }

    /// The arrival of a person whom the rules admit, with the roles that the rules give and take.
    fn admit(&self, person: &ProviderPerson) -> Result<ProviderArrival, ProviderFault> {
        let settings = &self.settings;
        let fits = |rules: &Vec<PersonRule>| rules.iter().any(|rule| person.fits(rule));
        if !settings.allow.as_ref().is_none_or(fits) {
            return Err(ProviderFault::NotAllowed(Box::new(RefusedArrival {
                provider: settings.name.clone(),
                issuer: settings.issuer.clone(),
                subject: person.subject.clone(),
                roles: settings.roles.keys().cloned().collect(),
            })));
        }
        Ok(ProviderArrival {
            provider: settings.name.clone(),
            issuer: settings.issuer.clone(),
            subject: person.subject.clone(),
            name: person.name.clone(),
            email: person.email.clone(),
            matches_email: settings.matches_email,
            // Without a rule, nobody new gets in, whatever the settings say.
            gets_account: settings.makes_accounts && settings.allow.is_some(),
            roles: settings.roles.iter().map(|(role, rules)| (role.clone(), fits(rules))).collect(),
        })
    }
}

fn digest_of(secret: &SecretString) -> Digest {
    sha256(secret.expose_secret().as_bytes())
}

/// The value of `state` in a query. None: there is none, or there are two.
fn state_in(query: &str) -> Option<String> {
    let mut states = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "state");
    let state = states.next()?.1.into_owned();
    states.next().is_none().then_some(state)
}

#[cfg(test)]
mod tests;
