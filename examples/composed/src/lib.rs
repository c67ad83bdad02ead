//! A rule in front of any other authorizer: during a freeze, only exceptions may be called; otherwise the other authorizer decides.
//!
//! The other authorizer is a separate component, whose exports this one imports. Composed, the two are one plugin. On a native
//! target there is nothing to import, so this crate is empty there.
#![cfg(target_family = "wasm")]

mod inner_authorizer;
mod schema;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use witgate_plugin::{
    Authorize, Call, ConfigError, Decision, Denial, Description, Host, Pattern, Plugin, Principal, Wants,
};

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The time in which nothing changes. Absent: the other authorizer decides alone.
    freeze: Option<Freeze>,
    /// The settings of the other authorizer.
    inner: Value,
}

/// A time in which nothing changes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Freeze {
    /// The first second of the freeze: `2026-12-24T00:00:00Z`.
    from: String,
    /// The first second after the freeze.
    until: String,
    /// Patterns of the exceptions.
    #[serde(default)]
    except: Vec<String>,
}

/// The plugin.
#[derive(Debug)]
pub struct Composed {
    freeze: Option<Frozen>,
}

#[derive(Debug)]
struct Frozen {
    from: u64,
    until: u64,
    except: Vec<Pattern>,
}

impl Plugin for Composed {
    const NAME: &'static str = "composed";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Denies changes during a freeze, and else asks another authorizer.";
    type Config = Settings;

    /// The schema contains that of the other authorizer, so that the host also finds files, keys and secrets in its settings.
    fn describe() -> Description {
        let own = schemars::schema_for!(Settings).to_value();
        Description {
            name: Self::NAME.to_owned(),
            version: Self::VERSION.to_owned(),
            summary: Self::SUMMARY.to_owned(),
            config_schema: schema::with_inner(own, &inner_authorizer::config_schema()).to_string(),
        }
    }

    fn configure(policy: &str, settings: Settings) -> Result<(Self, Wants), ConfigError> {
        let freeze = settings.freeze.as_ref().map(Frozen::of).transpose()?;
        let wants = inner_authorizer::configure(policy, &settings.inner.to_string())?;
        Ok((Self { freeze }, wants))
    }
}

impl Frozen {
    fn of(freeze: &Freeze) -> Result<Self, ConfigError> {
        let time = |name: &str, text: &str| {
            let moment: Option<Timestamp> = text.parse().ok();
            let seconds = moment.and_then(|moment| u64::try_from(moment.as_second()).ok());
            let message = "write a time with its offset: 2026-12-24T00:00:00Z";
            seconds.ok_or_else(|| ConfigError::at(format!("/freeze/{name}"), message))
        };
        let (from, until) = (time("from", &freeze.from)?, time("until", &freeze.until)?);
        if until <= from {
            return Err(ConfigError::at("/freeze/until", "the freeze ends before it begins"));
        }
        let pattern = |(index, text): (usize, &String)| {
            let place = format!("/freeze/except/{index}");
            text.parse::<Pattern>().map_err(|error| ConfigError::at(place, error.to_string()))
        };
        let except = freeze.except.iter().enumerate().map(pattern).collect::<Result<_, _>>()?;
        Ok(Self { from, until, except })
    }

    fn judge(&self, now: u64, call: &Call<'_>) -> Result<(), Denial> {
        let excepted = || self.except.iter().any(|pattern| pattern.matches(call.kind, call.target));
        if !(self.from..self.until).contains(&now) || excepted() {
            return Ok(());
        }
        Err(Denial {
            reason: "frozen".to_owned(),
            retry_after: u32::try_from(self.until.saturating_sub(now)).ok(),
            detail: Some("the call is not an exception of the current freeze".to_owned()),
            ..Denial::default()
        })
    }
}

impl Authorize for Composed {
    async fn authorize<H: Host>(&self, host: &H, call: &Call<'_>, principal: &Principal<'_>) -> Decision {
        let frozen = self.freeze.as_ref().map_or(Ok(()), |freeze| freeze.judge(host.now(), call));
        match frozen {
            Ok(()) => inner_authorizer::authorize(call, principal),
            Err(denial) => Decision::Deny(denial),
        }
    }
}

witgate_plugin::export_authorizer!(Composed);
