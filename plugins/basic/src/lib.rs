//! HTTP Basic: a store of users, with the hash of a password, the identity and the patterns of each.
//!
//! As an authenticator, the policy finds the user of a request, and asks the host whether the password is that of the
//! user's hash. As an authorizer, it applies the `allow` and `deny` of that user to the identities that it has
//! established itself, and abstains for others.

pub mod credential;
pub mod hash;
pub mod users;

use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{
    Authenticate, Authorize, Call, ConfigError, Credential, Decision, Host, Identity, PasswordError, Plugin,
    Principal, RuleVerdict, Rules, Scheme, Unavailability, Verdict, Wants,
};

use credential::UserPassword;
use hash::PasswordHash;
use users::{StoredUser, Users};

/// The time for which the host may use a verdict again, in seconds. The host remembers good passwords for longer, so
/// that a call of another tool costs no hash either.
const KEPT_S: u64 = 60;

/// The settings of a `basic` policy.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The file of users that `witgate user` writes.
    #[schemars(extend("format" = "witgate-file"))]
    pub users: String,
    /// The realm, which clients show to people who have to log in.
    #[serde(default = "default_realm")]
    pub realm: String,
}

/// The realm if the settings name none.
pub const DEFAULT_REALM: &str = "mcp";

fn default_realm() -> String {
    DEFAULT_REALM.to_owned()
}

/// True if a text can be a realm.
pub fn is_realm(text: &str) -> bool {
    let fits = |c: char| (' '..='~').contains(&c) && c != '"' && c != '\\';
    (1..=128).contains(&text.len()) && text.chars().all(fits)
}

/// One configured `basic` policy.
#[derive(Debug)]
pub struct Basic {
    policy: String,
    /// Sorted by name.
    users: Vec<UserRules>,
    /// The hashes for unknown names: one of the cost of each user's, so that the time of a refusal does not tell
    /// whether there is a user of that name. There is always one.
    first_decoy: PasswordHash,
    decoys: Vec<PasswordHash>,
}

#[derive(Debug)]
struct UserRules {
    name: String,
    hash: PasswordHash,
    is_disabled: bool,
    roles: Vec<String>,
    scopes: Vec<String>,
    rules: Rules,
}

impl Plugin for Basic {
    const NAME: &'static str = "basic";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str =
        "Knows callers by user name and password, and applies each user's own patterns.";
    type Config = Config;

    fn configure(policy: &str, config: Config) -> Result<(Self, Wants), ConfigError> {
        if !is_realm(&config.realm) {
            let message = "has to have 1 to 128 printable ASCII characters without quotes and backslashes";
            return Err(ConfigError::at("/realm", message));
        }
        let users =
            Users::parse(&config.users).map_err(|error| ConfigError::at("/users", error.to_string()))?;
        let wants = Wants { schemes: vec![Scheme::Basic], ..Wants::default() };
        Ok((Self::new(policy, users)?, wants))
    }
}

impl Basic {
    fn new(policy: &str, Users { mut users, .. }: Users) -> Result<Self, ConfigError> {
        users.sort_by(|a, b| a.name.cmp(&b.name));
        let mut decoys: Vec<_> = users.iter().map(|user| user.hash.decoy()).collect();
        let first_decoy = decoys.pop().unwrap_or_else(PasswordHash::nobody);
        let users = users.into_iter().map(UserRules::new).collect::<Result<_, _>>()?;
        Ok(Self { policy: policy.to_owned(), users, first_decoy, decoys })
    }

    fn by_name(&self, name: &str) -> Option<&UserRules> {
        let place = self.users.binary_search_by(|user| user.name.as_str().cmp(name)).ok()?;
        self.users.get(place)
    }

    /// The hash for an unknown name, always the same one.
    fn decoy<H: Host>(&self, host: &H, name: &str) -> &str {
        let digest = host.sha256(name.as_bytes());
        let word = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let number = self.decoys.len() as u64 + 1;
        let place = usize::try_from(word % number).unwrap_or_default();
        self.decoys.get(place).unwrap_or(&self.first_decoy).as_str()
    }
}

impl UserRules {
    fn new(stored: StoredUser) -> Result<Self, ConfigError> {
        let rules = stored.rules().map_err(|fault| ConfigError::at("/users", fault.to_string()))?;
        let StoredUser { name, hash, disabled, roles, scopes, .. } = stored;
        Ok(Self { name, hash, is_disabled: disabled.is_some(), roles, scopes, rules })
    }

    /// The verdict after the right password.
    fn verdict(&self) -> Verdict {
        if self.is_disabled {
            return Verdict::refused("disabled", format!("the user `{}` is disabled", self.name));
        }
        Verdict::Identity(Identity {
            subject: self.name.clone(),
            roles: self.roles.clone(),
            scopes: self.scopes.clone(),
            ..Identity::default()
        })
    }
}

impl Authenticate for Basic {
    async fn authenticate<H: Host>(
        &self,
        host: &H,
        _call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Verdict {
        if credential.scheme != Scheme::Basic {
            return Verdict::NotMine;
        }
        let shown = match UserPassword::parse(credential.value) {
            Ok(shown) => shown,
            Err(fault) => return Verdict::refused("malformed", fault.to_string()),
        };
        let user = self.by_name(&shown.name);
        let hash = user.map_or_else(|| self.decoy(host, &shown.name), |user| user.hash.as_str());
        let is_right = match host.verify_password(hash, &shown.password).await {
            Ok(is_right) => is_right,
            Err(error) => return Verdict::Unavailable(unavailability(error)),
        };
        match user.filter(|_| is_right) {
            Some(user) => {
                let verdict = user.verdict();
                if let Verdict::Identity(_) = &verdict {
                    host.keep_verdict(host.now().saturating_add(KEPT_S));
                }
                verdict
            }
            // The same for an unknown name, so that the answer does not tell which names there are.
            None => Verdict::refused("invalid-credentials", "the user name or the password is wrong"),
        }
    }
}

fn unavailability(error: PasswordError) -> Unavailability {
    match error {
        PasswordError::Busy(seconds) => {
            Unavailability::new("too many passwords are being checked", Some(seconds))
        }
        PasswordError::UnusableHash => {
            Unavailability::new("the host cannot use the hash of the password", None)
        }
    }
}

impl Authorize for Basic {
    async fn authorize<H: Host>(&self, host: &H, call: &Call<'_>, principal: &Principal<'_>) -> Decision {
        if principal.proven_by != self.policy {
            return Decision::Abstain;
        }
        let user = self.by_name(principal.subject).filter(|user| !user.is_disabled);
        let Some(user) = user else {
            return Decision::deny("denied", "the user is disabled or no longer in the store");
        };
        match user.rules.judge(call.kind, call.target) {
            RuleVerdict::Allowed => {
                host.note_rule("user", &user.name);
                Decision::Allow
            }
            RuleVerdict::Denied => Decision::deny("denied", "a deny pattern of the user covers the call"),
            RuleVerdict::Unmatched => {
                Decision::deny("not-allowed", "no allow pattern of the user covers the call")
            }
        }
    }
}

witgate_plugin::export_policy!(Basic);

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use witgate_plugin::testing::{FakeHost, Person, tool};

    use super::*;

    const ADA: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
    const BEN: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";

    /// Ben is disabled.
    fn policy() -> Basic {
        let users = format!(
            "version = 1\n[[users]]\nname = 'ben'\nid = 'b'\nhash = '{BEN}'\ncreated = 2026-01-01T00:00:00Z\n\
             disabled = 2026-01-02T00:00:00Z\nallow = ['*']\n[[users]]\nname = 'ada'\nid = 'a'\nhash = '{ADA}'\n\
             created = 2026-01-01T00:00:00Z\nroles = ['ops']\nscopes = ['read']\nallow = ['get_*']\ndeny = ['get_x']\n"
        );
        configured(&users).expect("the settings are good")
    }

    fn configured(users: &str) -> Result<Basic, ConfigError> {
        let config = serde_json::json!({ "users": users }).to_string();
        Basic::configure_json("people", &config).map(|(policy, _)| policy)
    }

    /// A host that knows the passwords of both.
    fn host() -> FakeHost {
        FakeHost::new().password(ADA, "a:b").password(BEN, "secret")
    }

    fn ask(host: &FakeHost, policy: &Basic, text: &str) -> Verdict {
        let value = &STANDARD.encode(text);
        host.authenticate(policy, &tool("get_a"), &Credential { scheme: Scheme::Basic, value })
    }

    fn reason(verdict: &Verdict) -> &str {
        match verdict {
            Verdict::Refused(refusal) => &refusal.reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_user_with_the_right_password_is_known() {
        let host = host();
        let Verdict::Identity(identity) = ask(&host, &policy(), "ada:a:b") else { panic!() };
        assert_eq!((identity.subject.as_str(), identity.roles), ("ada", vec!["ops".to_owned()]));
        assert_eq!(identity.scopes, ["read"]);
        assert_eq!(host.kept_until(), Some(1_767_225_600 + KEPT_S));
    }

    #[test]
    fn an_unknown_name_costs_the_same_and_gets_the_same_answer() {
        let policy = policy();
        for (text, expected) in [
            ("ada:x", "invalid-credentials"),
            ("eve:x", "invalid-credentials"),
            (":x", "invalid-credentials"),
        ] {
            let host = host();
            let verdict = ask(&host, &policy, text);
            assert_eq!((reason(&verdict), host.calls("verify_password")), (expected, 1), "{text}");
            assert_eq!(host.kept_until(), None);
        }
        let nobody = configured("version = 1").expect("no users are good settings");
        let host = host();
        assert_eq!(reason(&ask(&host, &nobody, "ada:a:b")), "invalid-credentials");
        assert_eq!(host.calls("verify_password"), 1);
    }

    #[test]
    fn unknown_names_cost_what_the_users_cost() {
        let policy = policy();
        let kinds = |name: &str| policy.decoy(&FakeHost::new(), name).parse::<PasswordHash>().unwrap().kind();
        let all: std::collections::HashSet<_> =
            (0..64).map(|number| kinds(&format!("nobody{number}"))).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(kinds("eve"), kinds("eve"));
    }

    #[test]
    fn the_password_of_a_decoy_lets_nobody_in() {
        let policy = policy();
        let decoy = policy.decoy(&FakeHost::new(), "eve").to_owned();
        let host = FakeHost::new().password(&decoy, "x");
        assert_eq!(reason(&ask(&host, &policy, "eve:x")), "invalid-credentials");
    }

    #[test]
    fn only_the_right_password_tells_that_a_user_is_disabled() {
        let policy = policy();
        assert_eq!(reason(&ask(&host(), &policy, "ben:secret")), "disabled");
        assert_eq!(reason(&ask(&host(), &policy, "ben:other")), "invalid-credentials");
        let ben = Person::named("ben").proven_by("people");
        let decision = host().authorize(&policy, &tool("get_a"), &ben.principal());
        assert!(matches!(decision, Decision::Deny(_)), "{decision:?}");
    }

    #[test]
    fn no_password_of_a_malformed_credential_is_checked() {
        let host = host();
        for value in ["", "?", "YWRh"] {
            let credential = Credential { scheme: Scheme::Basic, value };
            let verdict = host.authenticate(&policy(), &tool("a"), &credential);
            assert_eq!(reason(&verdict), "malformed");
        }
        let bearer = Credential { scheme: Scheme::Bearer, value: "YWRhOmE6Yg==" };
        assert_eq!(host.authenticate(&policy(), &tool("a"), &bearer), Verdict::NotMine);
        assert_eq!(host.calls("verify_password"), 0);
    }

    #[test]
    fn a_busy_host_says_when_to_retry() {
        for (error, retry_after) in [(PasswordError::Busy(3), Some(3)), (PasswordError::UnusableHash, None)] {
            let host = FakeHost::new().password_error(error);
            let Verdict::Unavailable(said) = ask(&host, &policy(), "ada:a:b") else { panic!() };
            assert_eq!(said.retry_after, retry_after);
        }
    }

    #[test]
    fn patterns_decide_about_the_users_own_calls() {
        let (policy, host) = (policy(), FakeHost::new());
        let ada = Person::named("ada").proven_by("people");
        let decide = |tool_: &str| host.authorize(&policy, &tool(tool_), &ada.principal());
        assert_eq!(decide("get_a"), Decision::Allow);
        for denied in ["get_x", "put_a"] {
            assert!(matches!(decide(denied), Decision::Deny(_)), "{denied}");
        }
        let other = ada.proven_by("keys");
        assert_eq!(host.authorize(&policy, &tool("get_a"), &other.principal()), Decision::Abstain);
    }

    #[test]
    fn settings_name_the_place_of_a_fault() {
        let config = serde_json::json!({ "users": "version = 1", "realm": "a\"b" }).to_string();
        let error = Basic::configure_json("people", &config).expect_err("a quote").to_string();
        assert!(error.starts_with("/realm"), "{error}");
        let error = configured("version = 1\n[[users]]\nname = 1").expect_err("a number").to_string();
        assert!(error.starts_with("/users: store of users, line 3"), "{error}");
    }
}
