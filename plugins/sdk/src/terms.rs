//! The requirements for the claims of every token, whoever vouches for the token.

use crate::json::Json;
use crate::{Claims, ConfigError, Dpop, Host, Leeway, OneOrMany, Refusal, Scheme};

/// Time, audience and binding: on which terms a genuine token counts.
#[derive(Clone, Debug)]
pub struct Terms {
    audience: Audience,
    leeway: Leeway,
    dpop: Dpop,
}

/// For whom a token has to be, as settings say it.
#[derive(Clone, Debug, Default)]
pub struct Audience {
    /// The setting `audience`: those for whom it may be. None: the upstream's `resource`.
    pub ours: Option<OneOrMany>,
    /// The setting `audience_claim`: the claim that says it, in place of `aud`.
    pub claim: Option<String>,
    /// The setting `accept_without_audience`: accept a token for nobody in particular.
    pub may_be_missing: bool,
}

impl Audience {
    fn check(&self) -> Result<(), ConfigError> {
        if self.ours.as_ref().is_some_and(|list| list.0.is_empty() || list.has("")) {
            return Err(ConfigError::at("/audience", "empty; leave it out for the upstream's `resource`"));
        }
        match self.claim.as_deref() {
            None => Ok(()),
            Some("" | "aud") => Err(ConfigError::at("/audience_claim", "leave it out for `aud`")),
            Some(_) if self.ours.is_none() => {
                let message = "needs `audience`: the values of that claim which are for this server";
                Err(ConfigError::at("/audience_claim", message))
            }
            Some(_) if self.may_be_missing => {
                let message = "beside `audience_claim`, which says whom a token is for; take one of them out";
                Err(ConfigError::at("/accept_without_audience", message))
            }
            Some(_) => Ok(()),
        }
    }

    /// `aud` is judged wherever it names somebody: what says for whom it is, is not for others.
    fn judge<H: Host>(&self, host: &H, claims: &Claims<'_>) -> Result<(), Refusal> {
        let has = |audience: &str| self.ours.as_ref().is_some_and(|ours| ours.has(audience));
        let is_resource = |audience: &str| audience == host.audience();
        // Hydra writes an empty list where nobody was asked for.
        let is_there = claims.get("aud").is_some_and(|audience| *audience != Json::Array(Vec::new()));
        match &self.claim {
            Some(claim) => {
                claims.judge_audience(claim, has)?;
                if is_there {
                    claims.judge_audience("aud", |audience| has(audience) || is_resource(audience))?;
                }
                Ok(())
            }
            None if self.may_be_missing && !is_there => Ok(()),
            None if self.ours.is_some() => claims.judge_audience("aud", has),
            None => claims.judge_audience("aud", is_resource),
        }
    }
}

impl Terms {
    /// Terms for tokens that are for `audience`.
    ///
    /// # Errors
    /// Where the settings of the audience are empty or contradict each other.
    pub fn new(audience: Audience, leeway: Leeway, dpop: Dpop) -> Result<Self, ConfigError> {
        audience.check()?;
        Ok(Self { audience, leeway, dpop })
    }

    /// The tolerance for the issuer's clock.
    pub fn leeway(&self) -> Leeway {
        self.leeway
    }

    /// Judges the claims of a token that is shown in the way of `scheme`, and gives `exp` if it is there, in whole seconds since the Unix epoch.
    ///
    /// # Errors
    /// With the refusal that follows.
    pub fn judge<H: Host>(
        &self,
        host: &H,
        scheme: Scheme,
        claims: &Claims<'_>,
    ) -> Result<Option<u64>, Refusal> {
        let end = claims.judge_time(host.now(), self.leeway)?;
        self.audience.judge(host, claims)?;
        claims.judge_binding(host, scheme, self.dpop)?;
        Ok(end)
    }
}
