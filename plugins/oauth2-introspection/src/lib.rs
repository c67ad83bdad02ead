//! OAuth 2.0 token introspection (RFC 7662): the authorization server says whether a token is valid.
//!
//! The policy caches the server's answers by the digest of the token. It judges `exp`, `nbf` and `aud` in every
//! call.

mod answer;
mod client;
mod server;
mod signed_answer;
mod tokeninfo;

use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{
    Audience, Authenticate, Call, Claims, ConfigError, Credential, Dpop, Host, Identity, Leeway, Level,
    NoIdentity, OneOrMany, Plugin, Refusal, RequiredClaims, Roles, RolesClaim, Scheme, Terms, TokenPlace,
    UNREAD_ROLES, Verdict, Wants,
};

use client::AuthMethod;
use server::AuthorizationServer;
use signed_answer::Signatures;

/// The settings of an `oauth2-introspection` policy.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The form of the question: `rfc7662` (the default), or a GET of `endpoint` with the token as bearer: `tokeninfo` for
    /// answers with `expires_in` and no `active`, `userinfo` for the claims about a person (OpenID Connect).
    #[serde(default)]
    pub style: QuestionStyle,
    /// The introspection endpoint. Either this or `issuer` is needed.
    #[schemars(extend("format" = "witgate-endpoint"))]
    pub endpoint: Option<String>,
    /// The issuer identifier of the authorization server. Without `endpoint`, the policy reads the endpoint from the
    /// issuer's metadata (RFC 8414, then OpenID Connect Discovery). An answer that names an issuer has to name this
    /// one.
    #[schemars(extend("format" = "witgate-endpoint"))]
    pub issuer: Option<String>,
    /// The id of Witgate's client at the server, which has to be allowed to introspect. With `tokeninfo` and `userinfo`,
    /// the client whose tokens are accepted, unless there is an `audience`.
    pub client_id: String,
    /// The client's secret, which the host adds to requests. Either this or `client_key` is needed, except with
    /// `tokeninfo` and `userinfo`.
    #[schemars(extend("format" = "witgate-secret"))]
    pub client_secret: Option<String>,
    /// The client's private key in PEM. The host signs assertions (RFC 7523) with it, for `issuer`, or else for
    /// `endpoint`.
    #[schemars(extend("format" = "witgate-signing-key"))]
    pub client_key: Option<String>,
    /// The id of `client_key` at the server (`kid`).
    pub client_key_id: Option<String>,
    /// The algorithm of `client_key`. Default: RS256, ES256, ES384 or EdDSA, by the type of the key.
    pub client_key_algorithm: Option<String>,
    /// The client's method of authentication. Default: `private_key_jwt` with a key, `basic` with a secret.
    pub auth_method: Option<AuthMethod>,
    /// Keys of the server, with which it has to sign its answers (RFC 9701). They need `issuer`. Absent: answers are
    /// plain JSON.
    #[serde(default)]
    #[schemars(schema_with = "keys")]
    pub answer_keys: Vec<String>,
    /// The accepted audiences (`aud`). Default: the upstream's `resource`.
    pub audience: Option<OneOrMany>,
    /// The member with the audience, in place of `aud`, such as `client_id`. It has to contain one of `audience`. If
    /// the answer has an `aud`, that is judged as well.
    pub audience_claim: Option<String>,
    /// Accept a token without `aud`. The policy then accepts every token of the server, even one for another
    /// resource.
    #[serde(default)]
    pub accept_without_audience: bool,
    /// Members that the answer has to have: a list of names, or a table of values by name, such as
    /// `{ client_id = ["desk", "phone"] }`.
    #[serde(default)]
    pub required_claims: RequiredClaims,
    /// Maximum time in seconds for which the answer about an active token is cached, but not after the token expires.
    /// A revocation takes effect within this time. 0: no caching.
    #[serde(default = "default_cache_ttl")]
    pub cache_ttl_s: u32,
    /// Maximum time in seconds for which the answer about an inactive token is cached. 0: no caching.
    #[serde(default = "default_negative_ttl")]
    pub negative_ttl_s: u32,
    /// The member with the roles, a string or a list of strings; dots lead into objects. Or a list of
    /// such members, each of which may also be a list of names of nested objects. An empty list: no roles.
    #[serde(default)]
    pub roles_claim: RolesClaim,
    /// True if the roles are the names of the members of an object in `roles_claim`.
    #[serde(default)]
    pub roles_are_keys: bool,
    /// The roles that count; the policy ignores others in `roles_claim`. Absent: all, at most 256.
    pub only_roles: Option<OneOrMany>,
    /// The header that contains only a token, in place of `Authorization`, for proxies with a header of their own, such
    /// as `Cf-Access-Jwt-Assertion`.
    pub header: Option<String>,
    /// The use of proofs of the key that a token is bound to (DPoP, RFC 9449): `off`, `optional` or
    /// `required`.
    #[serde(default)]
    pub dpop: Dpop,
}

/// The form of a question about a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[schemars(rename = "Style")]
pub enum QuestionStyle {
    /// RFC 7662.
    #[default]
    Rfc7662,
    /// A GET with the token as bearer. Each answer with status 200 is about an active token.
    TokenInfo,
    /// The same for the userinfo endpoint of OpenID Connect, whose answer is about the person.
    UserInfo,
}

impl QuestionStyle {
    /// The name in the settings.
    fn name(self) -> &'static str {
        match self {
            Self::Rfc7662 => "rfc7662",
            Self::TokenInfo => "tokeninfo",
            Self::UserInfo => "userinfo",
        }
    }
}

fn keys(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "array", "items": { "type": "string", "format": "witgate-key" } })
}

/// The default of `cache_ttl_s`: long enough to keep load off the server, and short enough for a revocation.
fn default_cache_ttl() -> u32 {
    60
}

/// The default of `negative_ttl_s`. It is short, so that a client whose token becomes active need not wait long.
fn default_negative_ttl() -> u32 {
    10
}

/// The tolerance for the server's clock. It is zero for `exp`, because the server has just compared that with its own
/// clock. A start that is less than this in the future comes from a clock that runs ahead.
const LEEWAY: Leeway = Leeway { end: 0, start: 60 };

/// One configured `oauth2-introspection` policy.
#[derive(Debug)]
pub struct Introspection {
    config: Config,
    place: TokenPlace,
    terms: Terms,
    /// The terms for tokens with `azp`, if the policy accepts the tokens of one client.
    terms_of_client: Option<Box<Terms>>,
    /// In a box, because it is large, and the type of all policies would have its size.
    server: Box<AuthorizationServer>,
}

impl Plugin for Introspection {
    const NAME: &'static str = "oauth2-introspection";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str =
        "Knows callers by OAuth 2.0 tokens that the authorization server calls active.";
    type Config = Config;

    fn configure(_policy: &str, config: Config) -> Result<(Self, Wants), ConfigError> {
        check(&config)?;
        let signatures = Signatures::of(&config)?;
        let (endpoint, issuer) = (config.endpoint.as_deref(), config.issuer.as_deref());
        let server = AuthorizationServer::new(endpoint, issuer, client::auth(&config)?, signatures)?;
        let server = Box::new(server.asked_in(config.style));
        let (terms, terms_of_client) = terms(&config)?;
        let place = TokenPlace::new(config.header.clone(), config.dpop)?;
        let wants = place.wants();
        Ok((Self { config, place, terms, terms_of_client, server }, wants))
    }
}

/// The terms for tokens, and those for tokens with `azp`. A tokeninfo endpoint names the client of a token, and not the
/// resource. The settings say in which member a userinfo endpoint names it.
fn terms(config: &Config) -> Result<(Terms, Option<Box<Terms>>), ConfigError> {
    let own_client = || Some(OneOrMany(vec![config.client_id.clone()]));
    let ours = match config.style {
        QuestionStyle::UserInfo => config.audience.clone().or_else(own_client),
        QuestionStyle::Rfc7662 | QuestionStyle::TokenInfo => config.audience.clone(),
    };
    let audience = Audience {
        ours,
        claim: config.audience_claim.clone(),
        may_be_missing: config.accept_without_audience,
    };
    let made = |audience| Terms::new(audience, LEEWAY, config.dpop);
    if config.style == QuestionStyle::Rfc7662 || config.audience.is_some() || config.audience_claim.is_some()
    {
        return Ok((made(audience)?, None));
    }
    let client = |claim| made(Audience { ours: own_client(), claim, may_be_missing: false });
    Ok((client(None)?, Some(Box::new(client(Some("azp".to_owned()))?))))
}

/// Refuses settings that an endpoint which gets the token as bearer has no use for.
fn check_get(config: &Config) -> Result<(), ConfigError> {
    let style = config.style.name();
    if config.endpoint.is_none() {
        return Err(ConfigError::at("/endpoint", format!("needed with `style = \"{style}\"`")));
    }
    if config.accept_without_audience {
        let message = format!(
            "not possible with `{style}`: a token of any client would be accepted; name the member by `audience_claim`"
        );
        return Err(ConfigError::at("/accept_without_audience", message));
    }
    if config.style == QuestionStyle::UserInfo && config.audience_claim.is_none() {
        let message = "needed with `userinfo`, whose answers need not say for which client a token is: name the member that does; if there is none, use `rfc7662` or a jwt policy";
        return Err(ConfigError::at("/audience_claim", message));
    }
    let useless = [
        ("/client_secret", config.client_secret.is_some()),
        ("/client_key", config.client_key.is_some()),
        ("/auth_method", config.auth_method.is_some()),
        ("/answer_keys", !config.answer_keys.is_empty()),
        ("/dpop", config.dpop != Dpop::default()),
    ];
    match useless.into_iter().find(|(_, is_there)| *is_there) {
        None => Ok(()),
        Some((pointer, _)) => {
            Err(ConfigError::at(pointer, format!("has no effect with `{style}`; leave it out")))
        }
    }
}

fn check(config: &Config) -> Result<(), ConfigError> {
    if config.style != QuestionStyle::Rfc7662 {
        check_get(config)?;
    }
    if config.client_id.is_empty() {
        return Err(ConfigError::at("/client_id", "empty; write the id of the client at the server"));
    }
    if config.only_roles.as_ref().is_some_and(|only| only.0.is_empty() || only.has("")) {
        return Err(ConfigError::at("/only_roles", "empty; leave it out to accept all roles"));
    }
    config.required_claims.check()?;
    match config.roles_claim.is_usable() {
        false => Err(ConfigError::at("/roles_claim", "empty; leave it out to use `roles`")),
        true => Ok(()),
    }
}

impl Authenticate for Introspection {
    async fn authenticate<H: Host>(
        &self,
        host: &H,
        _call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Verdict {
        if !self.place.takes(credential.scheme) {
            return Verdict::NotMine;
        }
        if !is_token(credential.value) {
            return Verdict::refused("malformed", "the text does not have the form of a bearer token");
        }
        self.judge(host, credential).await.into()
    }
}

/// True if the text is a `b64token` (RFC 6750, section 2.1). The server is not asked about any other text.
fn is_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    !body.is_empty() && body.chars().all(fits)
}

impl Introspection {
    async fn judge<H: Host>(&self, host: &H, credential: &Credential<'_>) -> Result<Identity, NoIdentity> {
        let token = credential.value;
        let place = host.sha256(token.as_bytes());
        if let Some(answer) = host.cached(&place).and_then(|bytes| String::from_utf8(bytes).ok()) {
            return self.accept(host, &answer, credential.scheme);
        }
        let text = self.server.introspect(host, token).await?;
        let verdict = self.accept(host, &text, credential.scheme);
        if let Some(ttl @ 1..) = self.ttl(host.now(), &text) {
            host.cache(&place, text.as_bytes(), ttl);
        }
        verdict
    }

    fn accept<H: Host>(&self, host: &H, text: &str, scheme: Scheme) -> Result<Identity, NoIdentity> {
        let claims = answer::read(text)?
            .ok_or_else(|| Refusal::new("inactive", "the server calls the token inactive"))?;
        answer::judge_type(&claims, scheme)?;
        Ok(self.identity(host, &claims, text, scheme)?)
    }

    fn identity<H: Host>(
        &self,
        host: &H,
        claims: &Claims<'_>,
        text: &str,
        scheme: Scheme,
    ) -> Result<Identity, Refusal> {
        let of_client = self.terms_of_client.as_deref().filter(|_| claims.get("azp").is_some());
        let expires_at = of_client.unwrap_or(&self.terms).judge(host, scheme, claims)?;
        self.config.required_claims.judge(claims)?;
        let (claims_passed_on, roles) = match answer::passed_on(text, &self.config.roles_claim) {
            Some(text) => (Some(text), self.roles().read(host, claims)),
            None => {
                let message = "the server's answer exceeds 64 KiB, and is not passed on; every call of the caller that needs a rule is denied";
                host.log(Level::Warn, message);
                (None, vec![UNREAD_ROLES.to_owned()])
            }
        };
        Ok(Identity {
            subject: self.subject(claims)?.to_owned(),
            issuer: self.issuer(claims)?,
            roles,
            scopes: self.scopes(claims)?,
            claims: claims_passed_on,
            expires_at,
        })
    }

    /// The subject. An answer about a person always has `sub` (OpenID Connect Core, section 5.3.2).
    fn subject<'c>(&self, claims: &'c Claims<'_>) -> Result<&'c str, Refusal> {
        let otherwise: &[&str] = match self.config.style {
            QuestionStyle::Rfc7662 | QuestionStyle::TokenInfo => &["client_id"],
            QuestionStyle::UserInfo => &[],
        };
        Ok(claims.subject(otherwise)?)
    }

    /// The scopes. In an answer about a person, a member of this name says nothing about the token.
    fn scopes(&self, claims: &Claims<'_>) -> Result<Vec<String>, Refusal> {
        match self.config.style {
            QuestionStyle::Rfc7662 | QuestionStyle::TokenInfo => Ok(claims.spaced_words("scope")?),
            QuestionStyle::UserInfo => Ok(Vec::new()),
        }
    }

    fn roles(&self) -> Roles<'_> {
        let Config { roles_claim, roles_are_keys, only_roles, .. } = &self.config;
        Roles { claim: roles_claim, are_keys: *roles_are_keys, only: only_roles.as_ref() }
    }

    fn issuer(&self, claims: &Claims<'_>) -> Result<Option<String>, Refusal> {
        match (&self.config.issuer, claims.name("iss")?) {
            (Some(configured_issuer), Some(issuer)) if configured_issuer != issuer => {
                Err(Refusal::new("wrong-issuer", "the server names another issuer"))
            }
            (configured_issuer, issuer) => {
                Ok(issuer.map(str::to_owned).or_else(|| configured_issuer.clone()))
            }
        }
    }

    /// The time in seconds for which an answer may be cached. None: the answer cannot be read.
    fn ttl(&self, now: u64, text: &str) -> Option<u32> {
        let claims = answer::read(text).ok()?;
        let end = claims.as_ref().and_then(|claims| claims.time("exp").ok()?);
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded: casts of floats saturate"
        )]
        let left = end.map(|end| (end - now as f64) as u32);
        Some(match (claims, left) {
            (None, _) | (_, Some(0)) => self.config.negative_ttl_s,
            (Some(_), left) => self.config.cache_ttl_s.min(left.unwrap_or(u32::MAX)),
        })
    }
}

witgate_plugin::export_authenticator!(Introspection);

#[cfg(test)]
mod tests {
    use witgate_plugin::testing::{FakeHost, json, status, tool};
    use witgate_plugin::{ClientAuth, Method};

    use super::{Credential, Introspection, Plugin, Scheme, UNREAD_ROLES, Verdict};

    const ENDPOINT: &str = "https://idp.example.com/introspect";
    const GOOD: &str = r#"{"active":true,"sub":"ada","aud":"https://mcp.example.com/mcp","exp":1767229200}"#;

    fn policy() -> Introspection {
        let config = format!(r#"{{ "endpoint": "{ENDPOINT}", "client_id": "mcp", "client_secret": "idp" }}"#);
        let configured = Introspection::configure_json("idp", &config);
        configured.map(|(policy, _)| policy).expect("the settings are good")
    }

    fn ask(host: &FakeHost, value: &str) -> Verdict {
        host.authenticate(&policy(), &tool("echo"), &Credential { scheme: Scheme::Bearer, value })
    }

    #[test]
    fn only_relevant_groups_of_five_thousand_become_roles() {
        let groups: Vec<String> = (0..5000).map(|n| format!("{n:08x}-2d4a-4a7b-9f0e-7f3f1f0c9d1e")).collect();
        let last = groups.last().expect("there are some");
        let authenticate = |only: Option<&str>, team: &str| {
            let answer = serde_json::json!({
                "active": true, "sub": "ada", "aud": "https://mcp.example.com/mcp", "team": team, "groups": groups,
            });
            let host = FakeHost::new().answer(Method::Post, ENDPOINT, json(&answer.to_string()));
            let mut config = serde_json::json!({
                "endpoint": ENDPOINT, "client_id": "mcp", "client_secret": "idp", "roles_claim": "groups",
            });
            if let Some(only) = only {
                config["only_roles"] = serde_json::json!([only, "other"]);
            }
            let (policy, _) =
                Introspection::configure_json("idp", &config.to_string()).expect("good settings");
            let credential = Credential { scheme: Scheme::Bearer, value: "token" };
            match host.authenticate(&policy, &tool("echo"), &credential) {
                Verdict::Identity(identity) => identity,
                other => panic!("{other:?}"),
            }
        };
        let some = authenticate(Some(last), "red");
        assert_eq!(some.roles, [last.as_str()]);
        // Without the groups, the claims are within the limit.
        assert_eq!(some.claims.map(|claims| claims.contains("red") && claims.len() < 200), Some(true));
        assert_eq!(authenticate(None, "red").roles, [UNREAD_ROLES]);
        let vast = authenticate(Some(last), &"red".repeat(30_000));
        assert_eq!((vast.roles, vast.claims), (vec![UNREAD_ROLES.to_owned()], None));
    }

    #[test]
    fn a_token_is_introspected_once_while_the_answer_is_cached() {
        let host = FakeHost::new().answer(Method::Post, ENDPOINT, json(GOOD));
        for _ in 0..3 {
            assert!(matches!(ask(&host, "token"), Verdict::Identity(identity) if identity.subject == "ada"));
        }
        let requests = host.requests();
        assert_eq!(requests.len(), 1);
        let sent = requests.first().expect("one was sent");
        assert_eq!(sent.body, b"token=token&token_type_hint=access_token");
        // The secret's name; the secret is the host's.
        assert!(matches!(&sent.client_auth, ClientAuth::Basic(client) if client.secret == "idp"));
        let later = host.at(1_767_225_600 + 61);
        assert!(matches!(ask(&later, "token"), Verdict::Identity(_)));
        assert_eq!(later.requests().len(), 2);
    }

    #[test]
    fn a_malformed_token_is_not_introspected() {
        let host = FakeHost::new();
        assert!(matches!(ask(&host, "not a token"), Verdict::Refused(_)));
        assert_eq!(host.calls("send"), 0);
    }

    #[test]
    fn a_failing_server_does_not_make_a_token_invalid() {
        let host = FakeHost::new().answer(Method::Post, ENDPOINT, status(500));
        assert!(matches!(ask(&host, "token"), Verdict::Unavailable(_)));
        assert_eq!(host.calls("cache"), 0);
    }
}
