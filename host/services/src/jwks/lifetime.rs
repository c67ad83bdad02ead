//! The lifetime of an answer by its caching headers (RFC 9111, section 4.2).

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderName};

use witgate_base::clock;

/// The lifetime without caching headers: a few requests per hour, and a withdrawn key soon disappears.
const UNSAID: Duration = Duration::from_secs(300);
/// The shortest lifetime, even if a server permits no caching.
const SHORTEST: Duration = Duration::from_secs(5);
/// The longest lifetime, so that a withdrawn key is not accepted for longer.
const LONGEST: Duration = Duration::from_secs(900);

/// The lifetime from the time of the request.
pub(super) fn of(headers: &HeaderMap) -> Duration {
    let said = by_directives(headers).or_else(|| by_date(headers));
    let age = Duration::from_secs(text(headers, AGE).and_then(|age| age.parse().ok()).unwrap_or(0));
    said.map_or(UNSAID, |said| said.saturating_sub(age)).clamp(SHORTEST, LONGEST)
}

/// `Cache-Control`, which has precedence over `Expires`. This is a private cache.
fn by_directives(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let mut lifetime = None;
    for directive in lines.flat_map(|line| line.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(Duration::ZERO),
            // An invalid value makes the answer stale at once.
            "max-age" => lifetime = Some(value.trim().trim_matches('"').parse().unwrap_or(0)),
            _ => {}
        }
    }
    lifetime.map(Duration::from_secs)
}

fn by_date(headers: &HeaderMap) -> Option<Duration> {
    let expires = text(headers, EXPIRES)?;
    let date = text(headers, DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    let left =
        |end: SystemTime| end.duration_since(date.unwrap_or_else(clock::system_time)).unwrap_or_default();
    // An invalid date, such as `0`, is in the past.
    Some(httpdate::parse_http_date(expires).map_or(Duration::ZERO, left))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::of;

    #[test]
    fn the_lifetime_of_a_set_follows_its_headers_within_limits() {
        let date = ("date", "Sun, 06 Nov 1994 08:00:00 GMT");
        for (headers, seconds) in [
            (vec![], 300),
            (vec![("cache-control", "max-age=60")], 60),
            (vec![("cache-control", "public, Max-Age=\"60\", must-revalidate")], 60),
            (vec![("cache-control", "public"), ("cache-control", "max-age=60")], 60),
            (vec![("cache-control", "max-age=60"), ("age", "20")], 40),
            (vec![("cache-control", "max-age=60"), ("age", "100")], 5),
            (vec![("cache-control", "max-age=0")], 5),
            (vec![("cache-control", "no-store, max-age=60")], 5),
            (vec![("cache-control", "max-age=60, no-cache")], 5),
            (vec![("cache-control", "max-age=soon")], 5),
            (vec![("cache-control", "max-age=-1")], 5),
            (vec![("cache-control", "max-age=86400")], 900),
            (vec![("cache-control", "max-age=18446744073709551615")], 900),
            (vec![("cache-control", "max-age=99999999999999999999999")], 5),
            (vec![("cache-control", "s-maxage=60")], 300),
            (vec![date, ("expires", "Sun, 06 Nov 1994 08:01:00 GMT")], 60),
            (vec![date, ("expires", "Sun, 06 Nov 1994 07:00:00 GMT")], 5),
            (vec![("expires", "Sun, 06 Nov 1994 08:01:00 GMT")], 5),
            (vec![("expires", "0")], 5),
            (vec![date, ("expires", "Sun, 06 Nov 1994 08:01:00 GMT"), ("cache-control", "max-age=30")], 30),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(of(&map).as_secs(), seconds, "{headers:?}");
        }
    }
}
