//! Points in time, written as TOML date-times (RFC 3339).

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use toml::value::{Date, Datetime, Offset, Time as Clock};

/// A point in time, in whole seconds since the Unix epoch. A store contains it as a date-time with an
/// offset, in the years 1970 to 9999. It is written in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

const DAY: u64 = 86_400;

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        to_datetime(self.0)
            .ok_or_else(|| ser::Error::custom("a time beyond the year 9999"))?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let datetime = Datetime::deserialize(deserializer)?;
        from_datetime(&datetime).map(Self).ok_or_else(|| {
            de::Error::custom("not a date and time with an offset; write 2026-01-31T12:00:00Z")
        })
    }
}

fn from_datetime(datetime: &Datetime) -> Option<u64> {
    let (date, clock, offset) = (datetime.date?, datetime.time?, datetime.offset?);
    let minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let clock =
        i64::from(clock.hour) * 3_600 + i64::from(clock.minute) * 60 + i64::from(clock.second.unwrap_or(0));
    u64::try_from(days(date) * 86_400 + clock - minutes * 60).ok()
}

fn to_datetime(seconds: u64) -> Option<Datetime> {
    let clock = seconds % DAY;
    Some(Datetime {
        date: Some(date(i64::try_from(seconds / DAY).ok()?)?),
        time: Some(Clock {
            hour: u8::try_from(clock / 3_600).ok()?,
            minute: u8::try_from(clock / 60 % 60).ok()?,
            second: Some(u8::try_from(clock % 60).ok()?),
            nanosecond: None,
        }),
        offset: Some(Offset::Z),
    })
}

/// Days since 1970-01-01 of the Gregorian calendar. Counts years from March, so that the leap
/// day comes last (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days(date: Date) -> i64 {
    let (year, month) = (i64::from(date.year), i64::from(date.month));
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(date.day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date of a day since 1970-01-01, for the years that TOML can express.
fn date(days: i64) -> Option<Date> {
    let days = days.checked_add(719_468)?;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    Some(Date {
        year: u16::try_from(year).ok().filter(|year| *year <= 9_999)?,
        month: u8::try_from(month).ok()?,
        day: u8::try_from(day_of_year - (153 * shifted + 2) / 5 + 1).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::{from_datetime, to_datetime};

    fn seconds(text: &str) -> Option<u64> {
        from_datetime(&text.parse().ok()?)
    }

    #[test]
    fn known_times_are_parsed() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2000-02-29T23:59:59Z"), Some(951_868_799));
        assert_eq!(seconds("2026-01-01T00:00:00Z"), Some(1_767_225_600));
        assert_eq!(seconds("2026-01-01T02:30:00+02:30"), Some(1_767_225_600));
        assert_eq!(seconds("1969-12-31T23:59:59Z"), None);
        assert_eq!(seconds("2026-01-01T00:00:00"), None);
        assert_eq!(seconds("2026-01-01"), None);
    }

    #[test]
    fn every_day_survives_a_round_trip() {
        for day in (0..2_932_896).step_by(13).chain([0, 59, 60, 11_016, 2_932_895]) {
            let time = day * 86_400 + 45_296;
            assert_eq!(to_datetime(time).as_ref().and_then(from_datetime), Some(time));
        }
        assert_eq!(
            to_datetime(253_402_300_799).map(|d| d.to_string()).as_deref(),
            Some("9999-12-31T23:59:59Z")
        );
        assert_eq!(to_datetime(253_402_300_800), None);
    }
}
