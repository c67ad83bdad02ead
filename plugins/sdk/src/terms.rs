//! What the claims of every token are held against, whoever says that the token is genuine.

use crate::{Claims, ConfigError, Dpop, Host, Leeway, OneOrMany, Refusal, Scheme};

/// Time, audience and binding: on which terms a genuine token counts.
#[derive(Clone, Debug)]
pub struct Terms {
    audience: Option<OneOrMany>,
    leeway: Leeway,
    dpop: Dpop,
}

impl Terms {
    /// Terms for tokens that are for one of `audience`; none: for the upstream's `resource`.
    ///
    /// # Errors
    /// Where the setting `/audience` is there and empty.
    pub fn new(audience: Option<OneOrMany>, leeway: Leeway, dpop: Dpop) -> Result<Self, ConfigError> {
        match audience.as_ref().is_some_and(|list| list.0.is_empty() || list.has("")) {
            true => Err(ConfigError::at("/audience", "empty; leave it out for the upstream's `resource`")),
            false => Ok(Self { audience, leeway, dpop }),
        }
    }

    /// How far the issuer's clock may be off.
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
        match &self.audience {
            Some(ours) => claims.judge_audience(|audience| ours.has(audience))?,
            None => {
                let ours = host.audience();
                claims.judge_audience(|audience| audience == ours)?;
            }
        }
        claims.judge_binding(host, scheme, self.dpop)?;
        Ok(end)
    }
}
