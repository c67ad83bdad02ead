//! `[accounts.login]`: the providers at which people with accounts log in.

use std::collections::BTreeMap;

use url::Url;

use crate::credentials::GrantSettings;

/// A provider at which people log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSettings {
    /// The name of the table, which is a part of paths.
    pub name: String,
    /// The name for people.
    pub label: String,
    /// Witgate's client at the provider, with the scopes of logins.
    pub client: GrantSettings,
    /// The place to which the provider leads back.
    pub redirect_uri: Url,
    /// The form in which the provider says who somebody is.
    pub form: ProviderForm,
    /// The issuer of subjects. With it, the database knows an identity.
    pub issuer: String,
    /// The people who may log in. None: everybody who has an account.
    pub allow: Option<Vec<PersonRule>>,
    /// True if a person without an account gets one.
    pub makes_accounts: bool,
    /// True if the first login with a verified e-mail address gets the account of that name.
    pub matches_email: bool,
    /// The people who have each role.
    pub roles: BTreeMap<String, Vec<PersonRule>>,
}

/// The form in which a provider says who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderForm {
    /// By ID tokens of OpenID Connect.
    OpenId {
        /// The URL with further claims.
        userinfo: Option<Url>,
        /// True if the claim `hd` names the domain of a person, as at Google: an address alone does not say that its
        /// domain vouches for it.
        has_hosted_domain: bool,
    },
    /// By the API of GitHub.
    Github {
        /// The URL of the user of a token.
        user: Url,
        /// The organizations of which a membership counts.
        organizations: Vec<String>,
        /// True if the address of e-mail counts.
        needs_email: bool,
    },
}

/// The path to which the login page sends a browser for a provider.
pub fn provider_path(name: &str) -> String {
    format!("/login/with/{name}")
}

/// The path to which a provider leads back.
pub fn provider_callback_path(name: &str) -> String {
    format!("{}/callback", provider_path(name))
}

/// A rule that fits people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PersonRule {
    /// Everybody who has an account at the provider.
    Everybody,
    /// The person with this id, which never changes.
    Subject(String),
    /// The person with this verified e-mail address, in lower case.
    Email(String),
    /// The people of this domain, in lower case.
    Domain(String),
    /// The members of a group.
    Group(String),
    /// The members of an organization at GitHub, in lower case.
    Organization(String),
    /// The person with this name at GitHub, in lower case.
    Login(String),
}

impl PersonRule {
    /// The rule in a text. None: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everybody);
        }
        let (kind, value) = text.split_once(':')?;
        if value.is_empty() || value.trim() != value || value.chars().any(char::is_control) {
            return None;
        }
        let lower = value.to_ascii_lowercase();
        let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        match kind {
            "subject" => Some(Self::Subject(value.to_owned())),
            "group" => Some(Self::Group(value.to_owned())),
            "email" if lower.split_once('@').is_some_and(|(_, domain)| is_domain(domain)) => {
                Some(Self::Email(lower))
            }
            "domain" if is_domain(&lower) => Some(Self::Domain(lower)),
            "org" if is_name(value) => Some(Self::Organization(lower)),
            "login" if is_name(value) => Some(Self::Login(lower)),
            _ => None,
        }
    }
}

fn is_domain(text: &str) -> bool {
    let is_label =
        |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    text.contains('.') && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_in_one_form_only() {
        for (text, rule) in [
            ("*", PersonRule::Everybody),
            ("subject:Ab:1", PersonRule::Subject("Ab:1".to_owned())),
            ("email:Ada@Example.com", PersonRule::Email("ada@example.com".to_owned())),
            ("domain:Example.com", PersonRule::Domain("example.com".to_owned())),
            ("group:Ops team", PersonRule::Group("Ops team".to_owned())),
            ("org:ACME-1", PersonRule::Organization("acme-1".to_owned())),
            ("login:Octocat", PersonRule::Login("octocat".to_owned())),
        ] {
            assert_eq!(PersonRule::parse(text), Some(rule), "{text}");
        }
        for text in [
            "",
            "ada",
            "user:ada",
            "subject:",
            "email:ada",
            "email:a@b@c.d e",
            "domain:*.example.com",
            "domain:.com",
            "domain:com",
            "org:a/b",
            "org:..",
            "login:a b",
            "group: x",
            "subject:a\n",
        ] {
            assert_eq!(PersonRule::parse(text), None, "{text}");
        }
    }
}
