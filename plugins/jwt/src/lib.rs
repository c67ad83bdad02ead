//! JSON Web Tokens. This policy judges the claims; the host verifies the signatures, by the name of a key.
//!
//! Before the signature is verified, the policy only decides whether the token is for it, and whether the token
//! has a fault that does not depend on its claims (malformed, wrong algorithm or type). It judges the claims after
//! that, so that a caller without a valid token learns nothing from the answer.

mod algorithm;
mod kind;
pub mod revocation;
mod token;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use witgate_plugin::issuer::is_issuer;
use witgate_plugin::{
    Audience, Authenticate, Call, Claims, ConfigError, Credential, Dpop, Host, Identity, Leeway, NoIdentity,
    OneOrMany, Plugin, Refusal, RequiredClaims, Roles, RolesClaim, Scheme, SignedMessage, Terms, TokenPlace,
    Unavailability, Verdict, VerifyError, Wants,
};

pub use algorithm::Algorithm;
use revocation::RevokedTokens;
use token::{Token, TokenHeader, TokenShape};

/// The settings of a `jwt` policy.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The keys that tokens may be signed with, tried in this order: names under `[keys]`, or
    /// inline keys. Absent: the keys of the token's issuer, which has to be one of `issuer`; the host finds
    /// them by the issuer's metadata (RFC 8414, OpenID Connect Discovery).
    #[serde(default)]
    pub keys: Vec<KeyName>,
    /// The algorithms that tokens may be signed with: either only those of the HS family, or only others.
    #[schemars(length(min = 1))]
    pub algorithms: Vec<Algorithm>,
    /// The accepted issuers (`iss`). The next policy judges tokens of other issuers. Absent: all issuers that
    /// have one of the keys.
    #[serde(default)]
    #[schemars(schema_with = "issuers")]
    pub issuer: Option<OneOrMany>,
    /// The accepted audiences (`aud`). Default: the upstream's `resource`. `none`: a token may have no audience, so
    /// tokens for other servers with the same key are accepted as well.
    pub audience: Option<OneOrMany>,
    /// The claim with the audience, for issuers that do not write `aud`: for Cognito `client_id`. It has to contain
    /// one of `audience`. If the token has an `aud`, that is judged as well.
    pub audience_claim: Option<String>,
    /// Tolerance in seconds for the issuer's clock. At most 3600.
    #[serde(default = "default_leeway")]
    #[schemars(range(max = 3600))]
    pub leeway_s: u32,
    /// Claims that a token has to have, besides `exp` and `aud`: a list of names, or a table of values by name, such
    /// as `{ token_use = "access" }`.
    #[serde(default)]
    pub required_claims: RequiredClaims,
    /// The claim with the subject, for issuers that do not write `sub`; dots lead into objects. Default: `sub`, else
    /// `client_id`, else `azp`.
    pub subject_claim: Option<String>,
    /// The claim with the roles, a string or a list of strings; dots lead into objects. Or a list of
    /// such claims, each of which may also be a list of names of nested objects. An empty list: no roles.
    #[serde(default)]
    pub roles_claim: RolesClaim,
    /// True if the roles are the names of the members of an object in `roles_claim`.
    #[serde(default)]
    pub roles_are_keys: bool,
    /// The roles that count; the policy ignores others in `roles_claim`. Absent: all, at most 256.
    pub only_roles: Option<OneOrMany>,
    /// The claim with the scopes, a list or a string with spaces between them. Default: `scope`, else
    /// `scp`.
    pub scopes_claim: Option<String>,
    /// The required `typ` of the token. With `at+jwt`, a token of that type has to have every claim that RFC
    /// 9068 requires. Absent: every type except those for other purposes, such as `logout+jwt`.
    pub typ: Option<OneOrMany>,
    /// True if the issuer's access tokens have `at_hash`, or a `nonce` without scopes, such as those of Dex. The
    /// policy then also accepts the issuer's ID tokens, unless another claim distinguishes them.
    #[serde(default)]
    pub access_tokens_have_at_hash: bool,
    /// The file of revoked tokens that `witgate token revoke` writes. With it, tokens need a `jti`.
    #[serde(default)]
    #[schemars(extend("format" = "witgate-file"))]
    pub revoked: Option<String>,
    /// The header that contains only a token, in place of `Authorization`, for proxies with a header of their own, such
    /// as `Cf-Access-Jwt-Assertion`.
    pub header: Option<String>,
    /// The use of proofs of the key that a token is bound to (DPoP, RFC 9449): `off`, `optional` or
    /// `required`.
    #[serde(default)]
    pub dpop: Dpop,
}

/// The schema of [`OneOrMany`], for issuers: the host has the keys of each issuer under its name.
fn issuers(_: &mut SchemaGenerator) -> Schema {
    let text = json_schema!({ "type": "string", "minLength": 1, "format": "witgate-issuer" });
    json_schema!({ "anyOf": [text, { "type": "array", "items": text, "minItems": 1 }] })
}

/// The name of a key that the host holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("format" = "witgate-key"))]
pub struct KeyName(pub String);

/// The setting `audience` of tokens without an audience.
const NO_AUDIENCE: &str = "none";

/// The usual drift of clocks that are not synchronised.
fn default_leeway() -> u32 {
    60
}

/// The purpose for which a token is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenPurpose {
    /// A call.
    Access,
    /// A login of a person.
    Login,
}

/// One configured `jwt` policy.
#[derive(Debug)]
pub struct Jwt {
    config: Config,
    place: TokenPlace,
    terms: Terms,
    revoked: Option<RevokedTokens>,
}

impl Plugin for Jwt {
    const NAME: &'static str = "jwt";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Knows callers by JSON Web Tokens that a configured key has signed.";
    type Config = Config;

    fn configure(_policy: &str, config: Config) -> Result<(Self, Wants), ConfigError> {
        check(&config)?;
        let leeway = Leeway { end: config.leeway_s, start: config.leeway_s };
        let may_be_missing = config.audience.as_ref().is_some_and(|audience| audience.0 == [NO_AUDIENCE]);
        let audience = Audience {
            ours: config.audience.clone().filter(|_| !may_be_missing),
            claim: config.audience_claim.clone(),
            may_be_missing,
        };
        let terms = Terms::new(audience, leeway, config.dpop)?;
        let revoked = config.revoked.as_deref().map(RevokedTokens::parse).transpose();
        let revoked = revoked.map_err(|error| ConfigError::at("/revoked", error.to_string()))?;
        let place = TokenPlace::new(config.header.clone(), config.dpop)?;
        let wants = place.wants();
        Ok((Self { config, place, terms, revoked }, wants))
    }
}

fn check(config: &Config) -> Result<(), ConfigError> {
    if config.keys.is_empty() {
        check_discovery(config.issuer.as_ref())?;
    }
    if config.algorithms.is_empty() {
        let message = "no algorithm; write the ones that the issuer signs with, for example [\"RS256\"]";
        return Err(ConfigError::at("/algorithms", message));
    }
    let keyed = config.algorithms.iter().filter(|algorithm| algorithm.is_mac()).count();
    if keyed != 0 && keyed != config.algorithms.len() {
        let message = "HS algorithms together with others would accept a public key as a secret; \
                       write two jwt policies";
        return Err(ConfigError::at("/algorithms", message));
    }
    if config.leeway_s > 3600 {
        return Err(ConfigError::at("/leeway_s", "more than 3600, an hour; 60 is usual"));
    }
    for (pointer, list) in [
        ("/issuer", config.issuer.as_ref()),
        ("/typ", config.typ.as_ref()),
        ("/only_roles", config.only_roles.as_ref()),
    ] {
        if list.is_some_and(|list| list.0.is_empty() || list.has("")) {
            return Err(ConfigError::at(pointer, "empty; leave it out to use the default"));
        }
    }
    if config.subject_claim.as_deref() == Some("") {
        return Err(ConfigError::at("/subject_claim", "empty; leave it out to use `sub`"));
    }
    config.required_claims.check()?;
    match !config.roles_claim.is_usable() || config.scopes_claim.as_deref() == Some("") {
        true => Err(ConfigError::at("", "a claim's name is empty")),
        false => Ok(()),
    }
}

/// Checks that the host can find the keys of every issuer, if the settings name no keys.
fn check_discovery(issuers: Option<&OneOrMany>) -> Result<(), ConfigError> {
    let Some(issuers) = issuers else {
        let message = "no key; name at least one of `[keys]`, or an `issuer` that publishes its own";
        return Err(ConfigError::at("/keys", message));
    };
    match issuers.0.iter().find(|text| !text.is_empty() && !is_issuer(text)) {
        None => Ok(()),
        Some(other) => {
            let message = format!(
                "`{other}` is not a URL by which the host finds an issuer's keys; name keys in `keys`"
            );
            Err(ConfigError::at("/issuer", message))
        }
    }
}

impl Authenticate for Jwt {
    async fn authenticate<H: Host>(
        &self,
        host: &H,
        _call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Verdict {
        if !self.place.takes(credential.scheme) {
            return Verdict::NotMine;
        }
        let judged = self.judge(host, credential, TokenPurpose::Access).await;
        if let Ok(Identity { expires_at: Some(end), .. }) = &judged {
            host.keep_verdict(*end);
        }
        judged.into()
    }
}

impl Jwt {
    /// Judges an ID token of OpenID Connect. It differs from an access token only in what its claims say of its purpose.
    /// Nothing that a caller sends is judged so.
    ///
    /// # Errors
    /// With the refusal of the token.
    pub async fn judge_id_token<H: Host>(&self, host: &H, token: &str) -> Result<Identity, NoIdentity> {
        self.judge(host, &Credential { scheme: Scheme::Bearer, value: token }, TokenPurpose::Login).await
    }

    async fn judge<H: Host>(
        &self,
        host: &H,
        credential: &Credential<'_>,
        purpose: TokenPurpose,
    ) -> Result<Identity, NoIdentity> {
        let shape = TokenShape::of(credential.value).ok_or(NoIdentity::NotMine)?;
        let token = shape.decode()?;
        let claims = token.claims()?;
        self.own_issuer(&claims)?;
        let header = token.header()?;
        self.own_type(&header)?;
        self.verify(host, &self.keys(&claims)?, &token, &header).await?;
        if purpose == TokenPurpose::Access {
            kind::judge(&claims, self.config.access_tokens_have_at_hash)?;
        }
        Ok(self.accept(host, credential.scheme, &token, &header, &claims)?)
    }

    /// Passes tokens of other issuers, and tokens without an issuer, to the next policy.
    fn own_issuer(&self, claims: &Claims<'_>) -> Result<(), NoIdentity> {
        let issuer = claims.name("iss")?;
        match (&self.config.issuer, issuer) {
            (Some(accepted_issuers), Some(issuer)) if accepted_issuers.has(issuer) => Ok(()),
            (Some(_), _) => Err(NoIdentity::NotMine),
            (None, _) => Ok(()),
        }
    }

    fn own_type(&self, header: &TokenHeader<'_>) -> Result<(), Refusal> {
        let typ = header.typ.as_deref();
        let fits = match &self.config.typ {
            Some(wanted) => typ.is_some_and(|typ| wanted.0.iter().any(|own| kind::is_type(typ, own))),
            None => !typ.is_some_and(kind::is_for_other_purposes),
        };
        match fits {
            true => Ok(()),
            false => Err(Refusal::new("wrong-type", "the token's `typ` is not accepted")),
        }
    }

    /// The keys to try: the configured ones, or those that the host has for the token's issuer. Keys of another
    /// issuer are never tried, even if they have the same id.
    fn keys<'k>(&'k self, claims: &'k Claims<'_>) -> Result<Vec<&'k str>, Refusal> {
        match self.config.keys.is_empty() {
            true => Ok(claims.name("iss")?.into_iter().collect()),
            false => Ok(self.config.keys.iter().map(|KeyName(name)| name.as_str()).collect()),
        }
    }

    /// Tries the keys in their order until one verifies the signature.
    async fn verify<H: Host>(
        &self,
        host: &H,
        keys: &[&str],
        token: &Token<'_>,
        header: &TokenHeader<'_>,
    ) -> Result<(), NoIdentity> {
        let algorithm = header
            .algorithm
            .filter(|algorithm| self.config.algorithms.contains(algorithm))
            .ok_or_else(|| Refusal::new("algorithm", "the token's `alg` is not one of `algorithms`"))?;
        let signed = SignedMessage {
            algorithm: algorithm.into(),
            key_id: header.key_id.as_deref(),
            message: token.message.as_bytes(),
            signature: &token.signature,
        };
        let mut worst = VerifyError::AlgorithmMismatch;
        for key in keys {
            match host.verify(key, &signed).await {
                Ok(()) => return Ok(()),
                Err(error) => worst = weightier(worst, error),
            }
        }
        Err(unverified(worst))
    }

    fn accept<H: Host>(
        &self,
        host: &H,
        scheme: Scheme,
        token: &Token<'_>,
        header: &TokenHeader<'_>,
        claims: &Claims<'_>,
    ) -> Result<Identity, Refusal> {
        let end = self
            .terms
            .judge(host, scheme, claims)?
            .ok_or_else(|| Refusal::new("missing-claim", "the claim `exp` is missing"))?;
        self.complete(header, claims)?;
        if let Some(revoked) = &self.revoked {
            revoked.judge(claims)?;
        }
        Ok(Identity {
            subject: self.subject(claims)?.to_owned(),
            issuer: claims.name("iss")?.map(str::to_owned),
            roles: self.roles().read(host, claims),
            scopes: claims.spaced_words(self.scopes_claim(claims))?,
            claims: Some(token.payload.clone()),
            expires_at: Some(end.saturating_add(self.terms.leeway().end.into())),
        })
    }

    fn subject<'c>(&self, claims: &'c Claims<'_>) -> Result<&'c str, Refusal> {
        match &self.config.subject_claim {
            None => Ok(claims.subject(&["client_id", "azp"])?),
            Some(claim) => claims
                .name(claim)?
                .ok_or_else(|| Refusal::new("missing-claim", format!("the claim `{claim}` is missing"))),
        }
    }

    /// Checks that the token has the required claims with the required values.
    fn complete(&self, header: &TokenHeader<'_>, claims: &Claims<'_>) -> Result<(), Refusal> {
        let is_strict = |typ: &str| self.config.typ.is_some() && kind::is_type(typ, kind::ACCESS_TOKEN);
        let of_type = match header.typ.as_deref().is_some_and(is_strict) {
            true => kind::ACCESS_TOKEN_CLAIMS.as_slice(),
            false => &[],
        };
        match of_type.iter().find(|name| claims.get(name).is_none()) {
            None => self.config.required_claims.judge(claims),
            Some(name) => Err(Refusal::new("missing-claim", format!("the claim `{name}` is missing"))),
        }
    }

    fn roles(&self) -> Roles<'_> {
        let Config { roles_claim, roles_are_keys, only_roles, .. } = &self.config;
        Roles { claim: roles_claim, are_keys: *roles_are_keys, only: only_roles.as_ref() }
    }

    fn scopes_claim(&self, claims: &Claims<'_>) -> &str {
        match &self.config.scopes_claim {
            Some(own) => own,
            None if claims.get("scope").is_some() => "scope",
            None => "scp",
        }
    }
}

/// The error of two keys that says more about the token.
fn weightier(a: VerifyError, b: VerifyError) -> VerifyError {
    let weight = |error| match error {
        VerifyError::AlgorithmMismatch => 0,
        VerifyError::UnknownKeyId => 1,
        VerifyError::BadSignature => 2,
        VerifyError::Unavailable => 3,
        VerifyError::UnknownKey => 4,
    };
    if weight(b) > weight(a) { b } else { a }
}

fn unverified(error: VerifyError) -> NoIdentity {
    let refused = |reason, detail: &str| Refusal::new(reason, detail).into();
    match error {
        VerifyError::AlgorithmMismatch => refused("algorithm", "no configured key is for the token's `alg`"),
        VerifyError::UnknownKeyId => refused("unknown-key", "no configured key has the token's `kid`"),
        VerifyError::BadSignature => refused("bad-signature", "the signature matches no configured key"),
        VerifyError::Unavailable => Unavailability::new("the host could not fetch a key set", None).into(),
        VerifyError::UnknownKey => Unavailability::new("a configured key is not granted", None).into(),
    }
}

witgate_plugin::export_authenticator!(Jwt);

#[cfg(test)]
mod tests {
    use witgate_plugin::testing::{FakeHost, tool};

    use super::{Credential, Jwt, Plugin, Scheme, Verdict};

    /// `{"alg":"HS384"}` and `{"alg":"HS256"}`, each with `{"sub":"ada","exp":1}` and some signature.
    const OTHER_ALGORITHM: &str = "eyJhbGciOiJIUzM4NCJ9.eyJzdWIiOiJhZGEiLCJleHAiOjF9.eA";
    const EXPIRED: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEiLCJleHAiOjF9.eA";

    #[test]
    fn a_key_is_used_only_for_the_configured_algorithms() {
        let config = r#"{ "keys": ["session"], "algorithms": ["HS256"] }"#;
        let (policy, _) = Jwt::configure_json("tokens", config).expect("the settings are good");
        let host = FakeHost::new().key("session", Ok(()));
        let ask =
            |value| host.authenticate(&policy, &tool("echo"), &Credential { scheme: Scheme::Bearer, value });
        assert!(matches!(ask(OTHER_ALGORITHM), Verdict::Refused(_)));
        assert_eq!(host.calls("verify"), 0);
        assert!(matches!(ask(EXPIRED), Verdict::Refused(refusal) if refusal.reason == "expired"));
    }

    #[test]
    fn a_verdict_is_kept_until_the_token_expires() {
        let config =
            r#"{ "keys": ["session"], "algorithms": ["HS256"], "audience_claim": "sub", "audience": "ada" }"#;
        let (policy, _) = Jwt::configure_json("tokens", config).expect("the settings are good");
        for (now, kept) in [(0, Some(61)), (60, Some(61)), (61, None)] {
            let host = FakeHost::new().at(now).key("session", Ok(()));
            let credential = Credential { scheme: Scheme::Bearer, value: EXPIRED };
            host.authenticate(&policy, &tool("echo"), &credential);
            assert_eq!(host.kept_until(), kept, "at {now}");
        }
    }

    #[test]
    fn an_unavailable_key_does_not_make_a_token_invalid() {
        let config = r#"{ "keys": ["session"], "algorithms": ["HS256"] }"#;
        let (policy, _) = Jwt::configure_json("tokens", config).expect("the settings are good");
        let host = FakeHost::new().at(0).key("session", Err(witgate_plugin::VerifyError::Unavailable));
        let credential = Credential { scheme: Scheme::Bearer, value: EXPIRED };
        assert!(matches!(host.authenticate(&policy, &tool("echo"), &credential), Verdict::Unavailable(_)));
    }
}
