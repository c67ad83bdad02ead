use std::collections::BTreeSet;

use bytes::Bytes;
use http::HeaderMap;
use witgate_message::era::Era;
use witgate_plugin::Transport;

use super::*;
use crate::reject::UpstreamFault;
use crate::request::Route;

fn clock(sent: Option<u64>, answered: Option<u64>) -> (OperationClock, impl Fn(u64) -> Instant) {
    let start = Instant::now();
    let at = move |micros| start + Duration::from_micros(micros);
    let clock =
        OperationClock { started: start, sent: sent.map(at), answered: answered.map(at), error: None };
    (clock, at)
}

fn lines(metrics: &Metrics, name: &str) -> Vec<String> {
    metrics.render().lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
}

#[test]
fn the_time_at_the_upstream_is_not_witgates_own() {
    for (sent, answered, own) in [(None, None, 100), (Some(10), Some(90), 20), (Some(10), None, 10)] {
        let (clock, at) = clock(sent, answered);
        assert_eq!(clock.own(at(100)), Duration::from_micros(own), "{sent:?} {answered:?}");
    }
}

#[test]
fn a_message_that_was_never_parsed_counts_under_the_common_method() {
    let metrics = Metrics::default();
    let times = OperationTimes::new(&metrics, "u");
    let (clock, at) = clock(None, None);
    let error = Some(ErrorType::of_code(-32700));
    times.observe(clock, None, DecisionId::default(), at(5), error);
    let counts = lines(&metrics, "mcp_server_operation_duration_seconds_count");
    let expected = "{upstream=\"u\",mcp_method_name=\"_OTHER\",error_type=\"-32700\"} 1";
    assert!(counts.len() == 1 && counts[0].ends_with(expected), "{counts:?}");
    assert!(lines(&metrics, "mcp_client_operation_duration_seconds_count").is_empty());
    assert_eq!(lines(&metrics, "witgate_gateway_overhead_seconds_count").len(), 1);
}

#[test]
fn made_up_methods_and_codes_make_no_series() {
    let metrics = Metrics::default();
    let times = OperationTimes::new(&metrics, "u");
    for number in 0..1000_i64 {
        let call = parsed(&format!("made/up-{number}"));
        let (_, at) = clock(None, None);
        let end =
            OperationEnd { method: method(&call).unwrap(), decision: DecisionId::default(), ended: at(1) };
        times.server.observe(end, Duration::from_micros(1), Some(ErrorType::of_code(number * 1_000_003)));
    }
    let series: BTreeSet<_> =
        lines(&metrics, "mcp_server_operation_duration_seconds_count").into_iter().collect();
    assert_eq!(series.len(), 1, "{series:?}");
}

#[test]
fn only_messages_of_clients_that_ask_for_something_are_operations() {
    assert_eq!(method(&parsed("tools/call")), Some(0));
    assert_eq!(method(&parsed("GET")), Some(NAMES.len()));
    assert_eq!(method(&Call::bodiless("GET")), None);
    let answer = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_eq!(method(&Call::parse(answer).unwrap()), None);
}

#[test]
fn a_fault_of_the_upstream_is_told_to_its_health() {
    let health = UpstreamHealth::default();
    let (mut clock, _) = clock(Some(1), None);
    let fault = UpstreamFault::Timeout;
    clock.answered::<()>(&Err(Rejection::Upstream { fault, message: String::new() }), &health);
    assert_eq!(health.failures().unwrap().reason, fault.reason());
    assert_eq!(clock.error, Some(ErrorType::of_code(504)));
    clock.answered::<()>(&Err(Rejection::SessionNotFound), &health);
    assert_eq!(health.failures_in_a_row(), 1, "the caller's fault is not the upstream's");
    clock.answered(&Ok(()), &health);
    assert_eq!(health.failures(), None);
}

#[test]
fn a_stream_keeps_no_part_of_the_buffers_of_its_events() {
    let metrics = Metrics::default();
    let times = Arc::new(OperationTimes::new(&metrics, "u"));
    let mut operation = StreamedOperation::begin(&times, clock(None, None).0, &request(), None);
    let notification = br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;
    for size in [notification.len(), 4_000, 100_000] {
        let buffer = Bytes::from([&notification[..], &vec![b' '; 1 << 20]].concat());
        operation.note(&buffer.slice(..size));
        assert!(buffer.try_into_mut().is_ok(), "{size}");
    }
    operation.note(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x"}}"#);
    drop(operation);
    let counts = lines(&metrics, "mcp_server_operation_duration_seconds_count");
    assert!(counts.len() == 1 && counts[0].contains("error_type=\"-32603\"} 1"), "{counts:?}");
}

fn request() -> Arc<Request> {
    let (upstream, resource) = ("u".into(), "http://127.0.0.1/mcp".into());
    let (extensions, disagreements) = Default::default();
    let route =
        Arc::new(Route { upstream, resource, pipeline: 0, extensions, advertise_auth: false, disagreements });
    Arc::new(Request {
        call: parsed("tools/call"),
        decision: DecisionId::default(),
        era: Era::Stateless,
        headers: HeaderMap::new(),
        peer: None,
        transport: Transport::Http,
        route,
        certificate: None,
        round: None,
        hooks: Default::default(),
        definitions: Default::default(),
    })
}

fn parsed(method: &str) -> Call {
    let params = if method == "tools/call" { r#","params":{"name":"echo"}"# } else { "" };
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"{params}}}"#);
    Call::parse(Bytes::from(text)).unwrap()
}
