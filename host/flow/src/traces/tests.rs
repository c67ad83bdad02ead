use bytes::Bytes;
use http::HeaderMap;
use opentelemetry::trace::{SpanKind, Status};
use witgate_message::call::Call;
use witgate_message::era::Era;
use witgate_plugin::Transport;

use super::*;
use crate::decision::DecisionId;
use crate::request::Route;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn request(meta: &str, headers: HeaderMap) -> Request {
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":"seven","method":"tools/call","params":{{"name":"echo","arguments":{{"secret":1}},"_meta":{meta}}}}}"#
    );
    let route = Route {
        upstream: "main".into(),
        resource: "http://localhost/mcp".into(),
        pipeline: 0,
        extensions: Vec::new(),
        advertise_auth: false,
        disagreements: None,
    };
    Request {
        call: Call::parse(Bytes::from(text)).unwrap(),
        decision: DecisionId::default(),
        era: Era::Stateless,
        headers,
        peer: None,
        transport: Transport::Http,
        route: Arc::new(route),
        certificate: None,
        round: None,
        hooks: Default::default(),
        definitions: Default::default(),
    }
}

fn traces(share: f64, room: usize) -> (Arc<Tracer>, mpsc::Receiver<SpanData>, Counter) {
    let (sender, receiver) = mpsc::channel(room);
    let lost = Counter::default();
    (Arc::new(Tracer::new(share, sender, lost.clone())), receiver, lost)
}

fn end(trace: Trace, request: &Request, is_known: bool, error: Option<&'static str>) {
    end_of(trace, request, (is_known, true), error);
}

fn end_of(trace: Trace, request: &Request, (is_known, is_clean): (bool, bool), error: Option<&'static str>) {
    let (started, ended) = (trace.stages[0].from, Instant::now());
    trace.end(&OperationFacts {
        request,
        is_clean,
        is_known,
        started,
        sent: is_known.then_some(ended),
        answered: is_known.then_some(ended),
        ended,
        outcome: "allowed",
        reason: None,
        policy: None,
        error,
        upstream_error: error,
    });
}

fn received(receiver: &mut mpsc::Receiver<SpanData>) -> Vec<SpanData> {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

#[test]
fn the_server_span_is_a_child_of_the_context_in_meta_and_links_that_of_the_headers() {
    let (traces, mut receiver, _) = traces(0.0, 16);
    let mut headers = HeaderMap::new();
    let other = "00-11111111111111111111111111111111-2222222222222222-00";
    headers.insert("traceparent", other.parse().unwrap());
    let request = request(&format!(r#"{{"traceparent":"{PARENT}","tracestate":"a=1"}}"#), headers);
    let trace = traces.begin(&request, 3, Instant::now()).unwrap();
    let sent = trace.headers(true).unwrap();
    assert!(sent.parent.to_str().unwrap().starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    assert_eq!(sent.state.unwrap(), "a=1");
    end(*trace, &request, true, Some("tool_error"));
    let spans = received(&mut receiver);
    let [parse, client, server] = spans.as_slice() else { panic!("{spans:?}") };
    assert!(spans.iter().all(|span| span.span_context.trace_id().to_string() == PARENT[3..35]));
    assert_eq!((&*server.name, &server.span_kind), ("tools/call echo", &SpanKind::Server));
    assert_eq!(server.parent_span_id.to_string(), &PARENT[36..52]);
    assert!(server.parent_span_is_remote);
    assert_eq!(server.links.links[0].span_context.trace_id().to_string(), &other[3..35]);
    assert_eq!(
        (&client.span_kind, client.parent_span_id),
        (&SpanKind::Client, server.span_context.span_id())
    );
    assert!(sent.parent.to_str().unwrap().contains(&client.span_context.span_id().to_string()));
    assert_eq!((&*parse.name, parse.parent_span_id), ("witgate.parse", server.span_context.span_id()));
    assert_eq!(server.status, Status::error(""));
    let text = format!("{spans:?}");
    assert!(text.contains("seven") && text.contains("tool_error") && !text.contains("secret"), "{text}");
}

#[test]
fn spans_name_the_server_and_the_protocols() {
    let value = |span: &SpanData, name: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
        found.map(|attribute| attribute.value.to_string())
    };
    for (host, address) in [
        ("mcp.example.com", "mcp.example.com"),
        ("mcp.example.com:8443", "mcp.example.com"),
        ("[::1]:80", "::1"),
        ("[::1]", "::1"),
    ] {
        let (traces, mut receiver, _) = traces(1.0, 16);
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        let request = request("{}", headers);
        end(*traces.begin(&request, 3, Instant::now()).unwrap(), &request, true, None);
        let spans = received(&mut receiver);
        let [_, client, server] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!(value(server, "server.address").as_deref(), Some(address));
        assert_eq!(value(client, "server.address"), None, "the client span is about the upstream");
        for span in [client, server] {
            assert_eq!(value(span, "network.protocol.name").as_deref(), Some("http"));
            assert_eq!(value(span, "jsonrpc.protocol.version").as_deref(), Some("2.0"));
        }
    }
}

#[test]
fn a_message_with_a_credential_has_neither_target_nor_id() {
    let (traces, mut receiver, _) = traces(0.0, 16);
    let meta = format!(r#"{{"traceparent":"{PARENT}","tracestate":"a=key"}}"#);
    let request = request(&meta, HeaderMap::new());
    let trace = traces.begin(&request, 3, Instant::now()).unwrap();
    end_of(*trace, &request, (true, false), Some("400"));
    let spans = received(&mut receiver);
    let text = format!("{spans:?}");
    assert!(spans.len() == 3 && text.contains("tools/call"), "{text}");
    assert!(["echo", "seven", "key\""].iter().all(|word| !text.contains(word)), "{text}");
}

#[test]
fn an_unknown_sender_cannot_have_their_requests_recorded() {
    let (traces, mut receiver, _) = traces(0.0, 16);
    let request = request(&format!(r#"{{"traceparent":"{PARENT}"}}"#), HeaderMap::new());
    end(*traces.begin(&request, 1, Instant::now()).unwrap(), &request, false, Some("401"));
    assert!(received(&mut receiver).is_empty());
}

#[test]
fn the_parent_decides_for_known_callers_and_the_share_for_others() {
    let (all, mut receiver, _) = traces(1.0, 64);
    let unsampled = request(&format!(r#"{{"traceparent":"{}0"}}"#, &PARENT[..54]), HeaderMap::new());
    let trace = all.begin(&unsampled, 1, Instant::now()).unwrap();
    assert!(trace.headers(true).is_none());
    end(*trace, &unsampled, true, None);
    assert!(received(&mut receiver).is_empty());
    let plain = request("{}", HeaderMap::new());
    end(*all.begin(&plain, 1, Instant::now()).unwrap(), &plain, true, None);
    assert_eq!(received(&mut receiver).len(), 3);

    let (none, _receiver, _) = traces(0.0, 1);
    assert!((0..1000).all(|_| none.begin(&plain, 1, Instant::now()).is_none()));
    let (tenth, _receiver, _) = traces(0.1, 1);
    let begun = (0..10_000).filter(|_| tenth.begin(&plain, 1, Instant::now()).is_some()).count();
    assert!((800..1200).contains(&begun), "{begun}");
}

#[test]
fn spans_without_room_are_counted() {
    let (traces, mut receiver, lost) = traces(1.0, 1);
    let request = request("{}", HeaderMap::new());
    end(*traces.begin(&request, 1, Instant::now()).unwrap(), &request, true, None);
    assert_eq!((received(&mut receiver).len(), lost.get()), (1, 2));
}
