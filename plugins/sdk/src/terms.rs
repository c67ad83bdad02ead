//! The requirements for the claims of every token, signed or introspected.

use crate::json::Json;
use crate::{Claims, ConfigError, Dpop, Host, Leeway, OneOrMany, Refusal, Scheme};

/// The requirements for a genuine token: time, audience and binding.
#[derive(Clone, Debug)]
pub struct Terms {
    audience: Audience,
    leeway: Leeway,
    dpop: Dpop,
}

/// The required audience of a token, from the settings.
#[derive(Clone, Debug, Default)]
pub struct Audience {
    /// The setting `audience`: the accepted audiences. None: the upstream's `resource`.
    pub ours: Option<OneOrMany>,
    /// The setting `audience_claim`: the claim with the audience, in place of `aud`.
    pub claim: Option<String>,
    /// The setting `accept_without_audience`: accept a token that names no audience.
    pub may_be_missing: bool,
}

impl Audience {
    fn check(&self) -> Result<(), ConfigError> {
        if self.ours.as_ref().is_some_and(|list| list.0.is_empty() || list.has("")) {
            return Err(ConfigError::at("/audience", "empty; leave it out to use the upstream's `resource`"));
        }
        match self.claim.as_deref() {
            None => Ok(()),
            Some("" | "aud") => Err(ConfigError::at("/audience_claim", "leave it out to use `aud`")),
            Some(_) if self.ours.is_none() => {
                let message = "needs `audience`: the accepted values of that claim";
                Err(ConfigError::at("/audience_claim", message))
            }
            Some(_) if self.may_be_missing => {
                let message = "not possible with `audience_claim`; leave out one of them";
                Err(ConfigError::at("/accept_without_audience", message))
            }
            Some(_) => Ok(()),
        }
    }

    /// Judges the audience. An `aud` that names an audience is always checked, even if `audience_claim` names
    /// another claim.
    fn judge<H: Host>(&self, host: &H, claims: &Claims<'_>) -> Result<(), Refusal> {
        let has = |audience: &str| self.ours.as_ref().is_some_and(|ours| ours.has(audience));
        let is_resource = |audience: &str| audience == host.audience();
        // Hydra writes an empty list if the client asked for no audience.
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
    /// If the settings of the audience are empty or contradict each other.
    pub fn new(audience: Audience, leeway: Leeway, dpop: Dpop) -> Result<Self, ConfigError> {
        audience.check()?;
        Ok(Self { audience, leeway, dpop })
    }

    /// The tolerance for the issuer's clock.
    pub fn leeway(&self) -> Leeway {
        self.leeway
    }

    /// Judges the claims of a token that came with `scheme`. Returns `exp` in whole seconds since the Unix epoch, if
    /// the token has it.
    ///
    /// # Errors
    /// With the refusal of the token.
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
