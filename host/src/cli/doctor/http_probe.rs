//! A single request to a server of the configuration, and the clock of the server.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{AGE, DATE, HeaderMap};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::time::timeout;
use url::Url;

use witgate_base::cause::with_sources;
use witgate_base::clock;
use witgate_services::network::reach::Reach;
use witgate_services::network::{Destination, Ways};

/// Maximum time for an answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(10);

/// The largest answer that is read.
const LARGEST_ANSWER: usize = 1 << 20;

/// An answer of a server.
#[derive(Debug)]
pub(super) struct ProbedAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The clock of the server. None: the answer does not tell.
    pub(super) clock: Option<ClockReading>,
}

/// The clock of a server, compared with the own one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClockReading {
    /// Scheme, host and port of the server.
    pub(super) server: String,
    /// Seconds that the server's clock is ahead of the own one. Negative: it is behind.
    pub(super) ahead_s: i64,
}

/// A request to `url`.
pub(super) fn get(url: &Url) -> Result<Request<Full<Bytes>>, String> {
    Request::get(url.as_str())
        .header(http::header::ACCEPT, "application/json")
        .body(Full::default())
        .map_err(|error| error.to_string())
}

/// Sends a request to a server that the operator has named.
///
/// # Errors
/// With the reason why there is no answer. It contains no header.
pub(super) async fn send(ways: &Ways, request: Request<Full<Bytes>>) -> Result<ProbedAnswer, String> {
    let url = Url::parse(&request.uri().to_string()).map_err(|error| error.to_string())?;
    let client = ways.client(Destination::Asked(Reach::Private), url.scheme() == "https");
    let began = clock::system_time();
    let exchange = async {
        let answer = client.request(request).await.map_err(|error| with_sources(&error))?;
        let (head, body) = answer.into_parts();
        let ended = clock::system_time();
        // A body that streams for ever is no answer to this request, and its head is sufficient.
        let body = timeout(LONGEST_ANSWER / 2, Limited::new(body, LARGEST_ANSWER).collect()).await;
        let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
        let clock = clock_of(&url, &head.headers, began, ended);
        Ok(ProbedAnswer { status: head.status, headers: head.headers, body, clock })
    };
    timeout(LONGEST_ANSWER, exchange)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {LONGEST_ANSWER:?}")))
}

/// The clock of a server by its `Date`, which is about a moment between `began` and `ended`. A cache adds the `Age` of its
/// copy (RFC 9111, section 5.1).
fn clock_of(url: &Url, headers: &HeaderMap, began: SystemTime, ended: SystemTime) -> Option<ClockReading> {
    let seconds = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_secs()).ok()
    };
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let date = seconds(text(DATE).and_then(|date| httpdate::parse_http_date(date).ok())?)?;
    let age = text(AGE).and_then(|age| age.trim().parse::<u32>().ok()).map_or(0, i64::from);
    let (date, began, ended) = (date.saturating_add(age), seconds(began)?, seconds(ended)?);
    let ahead_s = if date > ended { date - ended } else { (date - began).min(0) };
    Some(ClockReading { server: url.origin().ascii_serialization(), ahead_s })
}

#[cfg(test)]
mod tests {
    use super::*;
    use witgate_config::Network;
    use witgate_testing::http_double::{HttpDouble, HttpDoubleAnswer};

    fn reading(date: &str, age: Option<&str>, began: u64, ended: u64) -> Option<i64> {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, date.parse().unwrap());
        age.into_iter().for_each(|age| drop(headers.insert(AGE, age.parse().unwrap())));
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let url = "https://idp.example.com/a".parse().unwrap();
        clock_of(&url, &headers, at(began), at(ended)).map(|reading| reading.ahead_s)
    }

    #[test]
    fn a_date_during_the_request_is_no_difference() {
        let date = "Thu, 01 Jan 1970 00:01:40 GMT";
        assert_eq!(reading(date, None, 100, 101), Some(0));
        assert_eq!(reading(date, None, 99, 103), Some(0));
        assert_eq!(reading(date, None, 30, 40), Some(60));
        assert_eq!(reading(date, None, 200, 205), Some(-100));
        // A copy of a cache.
        assert_eq!(reading(date, Some("100"), 200, 205), Some(0));
        assert_eq!(reading("yesterday", None, 1, 1), None);
    }

    #[tokio::test]
    async fn an_answer_has_its_status_and_its_clock() {
        let server = HttpDouble::start(|_| {
            HttpDoubleAnswer::json(404, "{}").header("Date", "Thu, 01 Jan 1970 00:01:40 GMT")
        });
        let (ways, url) = (Ways::new(&Network::default()), server.url("/x").parse().unwrap());
        let answer = send(&ways, get(&url).unwrap()).await.unwrap();
        assert_eq!((answer.status, &*answer.body), (StatusCode::NOT_FOUND, &b"{}"[..]));
        assert!(answer.clock.unwrap().ahead_s < -1_000_000_000);
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_an_error() {
        let url = "http://127.0.0.1:1/x".parse().unwrap();
        let error = send(&Ways::new(&Network::default()), get(&url).unwrap()).await.unwrap_err();
        assert!(error.contains("refused"), "{error}");
    }
}
