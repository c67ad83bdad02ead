use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::BodyExt;

use super::*;
use crate::http::json;
use witgate_flow::event::Event;
use witgate_message::call::Call;

/// The state of a call after the flow has sent `method` to the upstream.
fn passed(method: &str, id: &str) -> InFlight {
    let under_way = InFlight::default();
    let call = Call::parse(format!(r#"{{"jsonrpc":"2.0",{id}"method":"{method}"}}"#).into()).ok().unwrap();
    under_way.begins(&call);
    under_way
}

/// The time until the stream is opened: a tenth of the time that late answers take.
const QUIET: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_secs(1);

fn after(time: Duration, response: Response<Body>) -> BoxFuture<'static, Response<Body>> {
    Box::pin(async move {
        sleep(time).await;
        response
    })
}

fn message(text: &'static str) -> Response<Body> {
    json(StatusCode::FORBIDDEN, Bytes::from_static(text.as_bytes()))
}

async fn text(response: Response<Body>) -> (u16, String, String) {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let content_type = head.headers["content-type"].to_str().unwrap().to_owned();
    (head.status.as_u16(), content_type, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn an_answer_in_time_is_unchanged() {
    let got = answer_after(LATE, after(QUIET, message("{}")), Some(passed("ping", "\"id\":1,"))).await;
    assert_eq!(text(got).await, (403, "application/json".to_owned(), "{}".to_owned()));
}

#[tokio::test]
async fn comments_keep_a_slow_call_alive_until_its_answer() {
    let started = tokio::time::Instant::now();
    let got =
        answer_after(QUIET, after(LATE, message("{\n\"a\":\r\n1}")), Some(passed("ping", "\"id\":1,"))).await;
    assert!((QUIET..LATE).contains(&started.elapsed()));
    let (status, content_type, text) = text(got).await;
    assert_eq!((status, content_type.as_str()), (200, "text/event-stream"));
    assert!(started.elapsed() >= LATE);
    assert_eq!(text, ": keep-alive\n\ndata: { \"a\":  1}\n\n");
}

#[tokio::test]
async fn a_late_stream_continues_in_the_open_one() {
    let event = Event { data: Bytes::from_static(b"{}"), ..Event::default() };
    let events = futures_util::stream::iter([event.clone(), event]).boxed();
    let stream = event_stream(StatusCode::OK, EVENTS, Body::events(events));
    let (status, _, text) =
        text(answer_after(QUIET, after(LATE, stream), Some(passed("ping", "\"id\":1,"))).await).await;
    assert_eq!((status, text.as_str()), (200, ": keep-alive\n\ndata: {}\n\ndata: {}\n\n"));
}

#[tokio::test]
async fn no_stream_is_opened_if_the_head_of_the_answer_matters() {
    let initialize = r#""id":1,"params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}},"#;
    let cases = [
        ("not yet judged", Some(InFlight::default())),
        ("it opens a session", Some(passed("initialize", initialize))),
        ("it has no answer", Some(passed("notifications/initialized", ""))),
        ("the caller takes no events", None),
    ];
    for (what, under_way) in cases {
        let got = answer_after(QUIET, after(LATE, message("{}")), under_way).await;
        assert_eq!(text(got).await, (403, "application/json".to_owned(), "{}".to_owned()), "{what}");
    }
}

#[tokio::test]
async fn a_caller_that_disconnects_ends_a_late_call() {
    let (ended, dropped) = tokio::sync::oneshot::channel::<()>();
    let work = Box::pin(async move {
        let _ended = ended;
        std::future::pending().await
    });
    let got = answer_after(QUIET, work, Some(passed("ping", "\"id\":1,"))).await;
    assert_eq!(got.status(), StatusCode::OK);
    drop(got);
    assert!(dropped.await.is_err());
}
