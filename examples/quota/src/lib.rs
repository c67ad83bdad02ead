//! A maximum number of calls per caller in a window of time, counted in the policy's cache.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{
    Authorize, Call, ConfigError, Decision, Denial, Host, Pattern, Plugin, Principal, Wants,
};

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Maximum number of calls per caller and window.
    calls: NonZeroU32,
    /// Length of a window in seconds: a day at most, because the cache is not durable.
    /// Windows begin at multiples of it since 1970.
    #[schemars(range(max = 86400))]
    window_s: NonZeroU32,
    /// Patterns of the calls that are counted.
    #[serde(default = "everything")]
    counted: Vec<String>,
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

/// The plugin.
#[derive(Debug)]
pub struct Quota {
    calls: u32,
    window_s: NonZeroU32,
    counted: Vec<Pattern>,
}

impl Plugin for Quota {
    const NAME: &'static str = "quota";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Allows each caller so many calls in a window of time.";
    type Config = Settings;

    fn configure(_policy: &str, settings: Settings) -> Result<(Self, Wants), ConfigError> {
        let Settings { calls, window_s, counted } = settings;
        let pattern = |(index, text): (usize, &String)| {
            text.parse::<Pattern>()
                .map_err(|error| ConfigError::at(format!("/counted/{index}"), error.to_string()))
        };
        let counted = counted.iter().enumerate().map(pattern).collect::<Result<_, _>>()?;
        Ok((Self { calls: calls.get(), window_s, counted }, Wants::default()))
    }
}

impl Authorize for Quota {
    async fn authorize<H: Host>(&self, host: &H, call: &Call<'_>, principal: &Principal<'_>) -> Decision {
        // Lists are not counted.
        if call.listing || !self.counted.iter().any(|pattern| pattern.matches(call.kind, call.target)) {
            return Decision::Allow;
        }
        let window_s = u64::from(self.window_s.get());
        let (window, into) = (host.now() / window_s, host.now() % window_s);
        let key = key(host, principal, window);
        let used = host.cached(&key).map_or(Some(0), |value| read(&value));
        match used {
            Some(used) if used < self.calls => {
                host.cache(&key, &(used + 1).to_be_bytes(), self.window_s.get());
                Decision::Allow
            }
            _ => Decision::Deny(Denial {
                retry_after: u32::try_from(window_s - into).ok(),
                ..spent(self.calls, self.window_s.get())
            }),
        }
    }
}

/// The key of a caller and window, by issuer and subject: the same subject of two issuers is two callers.
fn key<H: Host>(host: &H, principal: &Principal<'_>, window: u64) -> [u8; 32] {
    let issuer = host.issuer().unwrap_or_default();
    let name = format!("{}:{issuer}{}:{}{window}", issuer.len(), principal.subject.len(), principal.subject);
    host.sha256(name.as_bytes())
}

/// The stored count; none if it is invalid, which denies.
fn read(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

fn spent(calls: u32, window_s: u32) -> Denial {
    let detail = format!("the caller has made {calls} calls within {window_s} seconds");
    Denial { reason: "quota".to_owned(), detail: Some(detail), ..Denial::default() }
}

witgate_plugin::export_authorizer!(Quota);
