//! A person as a provider knows them.

use serde_json::{Map, Value};

use crate::database::identities::is_like_address;
use witgate_config::account_logins::PersonRule;

/// The longest id and the longest name that count, in bytes.
const LONGEST: usize = 255;

/// The most groups that count.
const MOST_GROUPS: usize = 1_024;

/// The domain of addresses that Google gives to people without a hosted domain.
const GMAIL: &str = "gmail.com";

/// A person. Everything in it is what the provider vouches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProviderPerson {
    /// The id, which never changes.
    pub(super) subject: String,
    /// The name for people.
    pub(super) name: String,
    /// The name at GitHub, in lower case.
    pub(super) login: Option<String>,
    /// The verified e-mail address, in lower case.
    pub(super) email: Option<String>,
    /// The domain that vouches for the person, in lower case.
    pub(super) domain: Option<String>,
    pub(super) groups: Vec<String>,
    /// The organizations at GitHub, in lower case.
    pub(super) organizations: Vec<String>,
}

impl ProviderPerson {
    /// True if the rule fits.
    pub(super) fn fits(&self, rule: &PersonRule) -> bool {
        match rule {
            PersonRule::Everybody => true,
            PersonRule::Subject(subject) => self.subject == *subject,
            PersonRule::Email(email) => self.email.as_ref() == Some(email),
            PersonRule::Domain(domain) => self.domain.as_ref() == Some(domain),
            PersonRule::Group(group) => self.groups.contains(group),
            PersonRule::Organization(name) => self.organizations.contains(name),
            PersonRule::Login(login) => self.login.as_ref() == Some(login),
        }
    }

    /// The person in the claims of OpenID Connect. None: there is no subject.
    pub(super) fn of_claims(claims: &Map<String, Value>, has_hosted_domain: bool) -> Option<Self> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| is_fine(text));
        let subject = text("sub")?.to_owned();
        let is_verified = claims.get("email_verified") == Some(&Value::Bool(true));
        let mut email = text("email").filter(|_| is_verified).and_then(address);
        let mut domain = email.as_deref().and_then(domain_of);
        if has_hosted_domain {
            // Google verifies foreign addresses once; their owners may change.
            let hosted = text("hd").map(str::to_ascii_lowercase);
            email = email.filter(|_| domain == hosted || domain.as_deref() == Some(GMAIL));
            domain = hosted;
        }
        let plain = |name: &str| text(name).filter(|text| !is_like_address(text));
        let shown = plain("preferred_username").or(email.as_deref()).or_else(|| plain("name"));
        let shown = shown.unwrap_or(&subject);
        let groups = claims.get("groups").and_then(Value::as_array).into_iter().flatten();
        let groups = groups.filter_map(Value::as_str).take(MOST_GROUPS).map(str::to_owned).collect();
        let name = shown.trim().to_owned();
        Some(Self { subject, name, email, domain, groups, ..Self::default() })
    }
}

/// The address, in lower case. None: it is none.
pub(super) fn address(text: &str) -> Option<String> {
    let (name, domain) = text.split_once('@')?;
    let is_plain = text.bytes().all(|b| b.is_ascii_graphic());
    (is_plain && !name.is_empty() && !domain.is_empty() && !domain.contains('@'))
        .then(|| text.to_ascii_lowercase())
}

/// The domain of an address.
pub(super) fn domain_of(address: &str) -> Option<String> {
    address.split_once('@').map(|(_, domain)| domain.to_owned())
}

/// True if a text can be an id or a name.
pub(super) fn is_fine(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= LONGEST && text.chars().all(witgate_base::printable::is_plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn person(claims: Value, has_hosted_domain: bool) -> Option<ProviderPerson> {
        ProviderPerson::of_claims(claims.as_object().unwrap(), has_hosted_domain)
    }

    #[test]
    fn an_address_counts_only_if_it_is_verified() {
        for (verified, counts) in [
            (json!(true), true),
            (json!("true"), false),
            (json!(1), false),
            (json!(false), false),
            (Value::Null, false),
        ] {
            let claims = json!({ "sub": "1", "email": "Ada@Example.com", "email_verified": verified });
            let person = person(claims, false).unwrap();
            assert_eq!(person.email.as_deref(), counts.then_some("ada@example.com"), "{verified}");
            assert_eq!(person.fits(&PersonRule::Domain("example.com".to_owned())), counts, "{verified}");
            assert_eq!(person.fits(&PersonRule::Email("ada@example.com".to_owned())), counts, "{verified}");
        }
    }

    #[test]
    fn a_domain_is_the_whole_one() {
        for email in [
            "a@evil-example.com",
            "a@example.com.evil.org",
            "a@b@example.com",
            "a@sub.example.com",
            "@example.com",
        ] {
            let claims = json!({ "sub": "1", "email": email, "email_verified": true });
            assert!(
                !person(claims, false).unwrap().fits(&PersonRule::Domain("example.com".to_owned())),
                "{email}"
            );
        }
    }

    /// Anybody can verify an address of a foreign domain at Google, for as long as they can read its mail.
    #[test]
    fn at_google_the_hosted_domain_counts() {
        let rule = PersonRule::Domain("example.com".to_owned());
        let claims = json!({ "sub": "1", "email": "a@example.com", "email_verified": true });
        assert!(!person(claims, true).unwrap().fits(&rule));
        assert!(person(json!({ "sub": "1", "hd": "Example.com" }), true).unwrap().fits(&rule));
        assert!(!person(json!({ "sub": "1", "hd": "example.com" }), false).unwrap().fits(&rule));
    }

    #[test]
    fn at_google_an_address_counts_only_where_google_is_its_authority() {
        for (email, hosted, counts) in [
            ("a@example.com", json!("Example.com"), true),
            ("a@gmail.com", Value::Null, true),
            ("a@gmail.com", json!("example.com"), true),
            ("a@example.com", Value::Null, false),
            ("a@example.com", json!("evil.org"), false),
            ("a@sub.example.com", json!("example.com"), false),
            ("a@mail.gmail.com", Value::Null, false),
        ] {
            let claims = json!({ "sub": "1", "email": email, "email_verified": true, "hd": hosted });
            let person = person(claims, true).unwrap();
            assert_eq!(person.email.is_some(), counts, "{email} {hosted}");
            assert_eq!(person.fits(&PersonRule::Email(email.to_owned())), counts, "{email} {hosted}");
        }
        let unverified = json!({ "sub": "1", "email": "a@gmail.com", "email_verified": false });
        assert_eq!(person(unverified, true).unwrap().email, None);
    }

    #[test]
    fn a_name_is_an_address_only_if_it_is_the_verified_one() {
        let verified = json!({ "email": "Ada@example.com", "email_verified": true });
        let unverified = json!({ "email": "ada@example.com" });
        for (claims, more, shown) in [
            (json!({ "preferred_username": "cfo@corp.com", "name": "Ada" }), &unverified, "Ada"),
            (json!({ "preferred_username": "cfo\u{ff20}corp.com", "name": "x@y" }), &unverified, "7"),
            (json!({ "preferred_username": "cfo@corp.com", "name": "Ada" }), &verified, "ada@example.com"),
            (json!({ "preferred_username": "ada", "name": "Ada" }), &verified, "ada"),
            (json!({ "name": " Ada " }), &unverified, "Ada"),
        ] {
            let mut claims = claims.as_object().unwrap().clone();
            claims.extend(more.as_object().unwrap().clone());
            claims.insert("sub".to_owned(), "7".into());
            let person = ProviderPerson::of_claims(&claims, false).unwrap();
            assert_eq!(person.name, shown, "{claims:?}");
        }
    }

    #[test]
    fn a_subject_is_a_text_and_is_compared_as_a_whole() {
        for claims in [json!({}), json!({ "sub": 1 }), json!({ "sub": "" }), json!({ "sub": "a\u{0}" })] {
            assert_eq!(person(claims.clone(), false), None, "{claims}");
        }
        let person = person(json!({ "sub": "1a", "groups": ["x", 3, "y"] }), false).unwrap();
        assert!(person.fits(&PersonRule::Subject("1a".to_owned())));
        assert!(!person.fits(&PersonRule::Subject("1A".to_owned())));
        assert!(
            person.fits(&PersonRule::Group("y".to_owned()))
                && !person.fits(&PersonRule::Group("X".to_owned()))
        );
        assert!(!person.fits(&PersonRule::Login("1a".to_owned())));
    }

    proptest! {
        /// Rules never fit because of something that the provider does not vouch for.
        #[test]
        fn an_unverified_address_fits_no_rule(name in "[a-z]{1,5}", domain in "[a-z]{1,5}\\.com", groups in prop::collection::vec("[a-z]{1,3}", 0..4)) {
            let email = format!("{name}@{domain}");
            let claims = json!({ "sub": "1", "email": email, "groups": groups });
            let person = person(claims, false).unwrap();
            let fits = [PersonRule::Email(email), PersonRule::Domain(domain), PersonRule::Organization(name.clone()), PersonRule::Login(name)];
            prop_assert!(!fits.iter().any(|rule| person.fits(rule)));
        }
    }
}
