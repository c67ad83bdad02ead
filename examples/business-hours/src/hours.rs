//! Hours of the week, in local time.

use jiff::civil::{Date, Time, Weekday};
use jiff::{ToSpan as _, ZonedDateTime};
use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::ConfigError;

/// Minutes of a day.
const DAY: i16 = 24 * 60;

/// Hours on some days of the week, in the form of the settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    /// The days on which they begin.
    #[schemars(length(min = 1))]
    days: Vec<Day>,
    /// The first minute, `HH:MM`.
    #[schemars(regex(pattern = "^[0-2][0-9]:[0-5][0-9]$"))]
    from: String,
    /// The first minute after the hours; `24:00` is midnight, and a time before `from` is on the next day.
    #[schemars(regex(pattern = "^[0-2][0-9]:[0-5][0-9]$"))]
    to: String,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// All hours in which callers may call.
#[derive(Debug)]
pub(crate) struct Hours(Vec<Span>);

/// From one minute to another, on some days.
#[derive(Debug)]
struct Span {
    days: Vec<Weekday>,
    from: i16,
    /// More than [`DAY`] if the hours end on the next day.
    to: i16,
}

impl Hours {
    pub(crate) fn of(windows: &[Window]) -> Result<Self, ConfigError> {
        if windows.is_empty() {
            return Err(ConfigError::at("/open", "empty, so nobody could ever call; write some hours"));
        }
        windows
            .iter()
            .enumerate()
            .map(|(index, window)| Span::of(index, window))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(crate) fn are_open(&self, now: &ZonedDateTime) -> bool {
        let minute = minute(now.time());
        let (today, yesterday) = (now.weekday(), now.weekday().previous());
        self.0.iter().any(|span| span.covers(today, minute) || span.covers(yesterday, minute + DAY))
    }

    /// Seconds until the next opening. If the clock is put forward over the first minute, the result is late by that
    /// time.
    pub(crate) fn seconds_to_opening(&self, now: &ZonedDateTime) -> Option<u32> {
        let days = (0..=7).filter_map(|ahead| now.date().checked_add(ahead.days()).ok());
        let openings = days.flat_map(|day| self.0.iter().flat_map(move |span| span.openings(day, now)));
        let soonest = openings.filter(|seconds| *seconds > 0).min()?;
        u32::try_from(soonest).ok()
    }
}

impl Span {
    fn of(index: usize, window: &Window) -> Result<Self, ConfigError> {
        let at = |name: &str, message: &str| ConfigError::at(format!("/open/{index}/{name}"), message);
        let time = |name, text: &str| read(text).ok_or_else(|| at(name, "write a time from 00:00 to 24:00"));
        let (from, to) = (time("from", &window.from)?, time("to", &window.to)?);
        if window.days.is_empty() {
            return Err(at("days", "name at least one day"));
        }
        if from == DAY {
            return Err(at("from", "write 00:00, and the day after"));
        }
        if from == to {
            return Err(at("to", "the hours end when they begin; for a whole day write 00:00 to 24:00"));
        }
        let days = window.days.iter().map(|day| day.weekday()).collect();
        Ok(Self { days, from, to: if to < from { to + DAY } else { to } })
    }

    /// True if the hours cover a minute, counted from the beginning of `day`.
    fn covers(&self, day: Weekday, minute: i16) -> bool {
        self.days.contains(&day) && (self.from..self.to).contains(&minute)
    }

    /// The seconds from now to the beginning of the hours on a day. There are two if the clock is put back over it.
    fn openings(&self, day: Date, now: &ZonedDateTime) -> Vec<i64> {
        let begins = |time: Time| now.time_zone().to_ambiguous_timestamp(day.to_datetime(time));
        let Some(begins) = self.days.contains(&day.weekday()).then(|| clock(self.from)).flatten().map(begins)
        else {
            return Vec::new();
        };
        let moments = [begins.compatible(), begins.later()].into_iter().flatten();
        moments.map(|moment| moment.as_second() - now.timestamp().as_second()).collect()
    }
}

impl Day {
    fn weekday(self) -> Weekday {
        match self {
            Self::Mon => Weekday::Monday,
            Self::Tue => Weekday::Tuesday,
            Self::Wed => Weekday::Wednesday,
            Self::Thu => Weekday::Thursday,
            Self::Fri => Weekday::Friday,
            Self::Sat => Weekday::Saturday,
            Self::Sun => Weekday::Sunday,
        }
    }
}

/// The minutes of a time `HH:MM`.
fn read(text: &str) -> Option<i16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |digits: &str| {
        (digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()))
            .then(|| digits.parse::<i16>().ok())?
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= DAY).then_some(total)
}

fn minute(time: Time) -> i16 {
    i16::from(time.hour()) * 60 + i16::from(time.minute())
}

fn clock(minute: i16) -> Option<Time> {
    let part = |n| i8::try_from(n).ok();
    Time::new(part(minute / 60)?, part(minute % 60)?, 0, 0).ok()
}
