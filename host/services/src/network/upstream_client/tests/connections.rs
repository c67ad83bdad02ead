//! The connections: their reuse, and their end.

use ::http::uri::Authority;

use super::super::fault::HttpAnswerFault;
use super::super::idle::IdleConnections;
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const OTHER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother";

/// Two answers on one connection, and another one on each further connection.
fn twice(first: &str) -> Vec<Vec<Step>> {
    vec![[answer(first), answer(OK)].concat(), answer(OTHER)]
}

/// The bodies of two answers to requests one after the other.
async fn two(client: &UpstreamClient, server: &Server) -> [String; 2] {
    [ask(client, server).await.unwrap().body, ask(client, server).await.unwrap().body]
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_proper_end() {
    for (first, body) in [
        (OK, "ok"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx", "x"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "x"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\nA: b\r\n\r\n",
            "abc",
        ),
    ] {
        let server = Server::start(twice(first)).await;
        assert_eq!(two(&client(), &server).await, [body, "ok"], "{first}");
        assert_eq!(server.opened(), 1, "{first}");
    }
}

#[tokio::test]
async fn a_connection_is_not_used_again_after_an_answer_that_ends_it() {
    for first in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
        "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx",
    ] {
        let server = Server::start(twice(first)).await;
        assert_eq!(two(&client(), &server).await, ["x", "other"], "{first}");
        server.wait_for_closed(1).await;
    }
    let to_the_end = [answer("HTTP/1.1 200 OK\r\n\r\nto the "), vec![Step::Write("end".into()), Step::Close]];
    let server = Server::start(vec![to_the_end.concat(), answer(OTHER)]).await;
    assert_eq!(two(&client(), &server).await, ["to the end", "other"]);
}

#[tokio::test]
async fn a_request_that_ends_its_connection_leaves_none() {
    let (server, client) = (Server::start(twice(OK)).await, client());
    let mut request = post(&server, "{}");
    request.headers_mut().insert("connection", "close".parse().unwrap());
    WholeAnswer::receive(send(&client, &request).await.unwrap()).await.unwrap();
    assert_eq!(ask(&client, &server).await.unwrap().body, "other");
}

/// A server that sends an answer to a request that nobody has sent yet could so answer the next caller.
#[tokio::test]
async fn bytes_after_an_answer_are_never_the_next_answer() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let bodiless = "HTTP/1.1 204 No Content\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    for first in [OK, bodiless, chunked] {
        let server = Server::start(twice(&(first.to_owned() + evil))).await;
        assert_eq!(two(&client(), &server).await[1], "other", "together with {first}");
        // The bytes arrive while the connection is idle.
        let late = vec![Step::Wait, Step::Write(evil.into())];
        let script = [answer(first), late, answer(OK)].concat();
        let (server, client) = (Server::start(vec![script, answer(OTHER)]).await, client());
        ask(&client, &server).await.unwrap();
        server.go_on();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(ask(&client, &server).await.unwrap().body, "other", "after {first}");
        assert_eq!(server.opened(), 2);
    }
}

/// The runtime does not tell the client about the bytes, because nothing waits in between.
#[tokio::test]
async fn bytes_of_which_the_runtime_knows_nothing_yet_are_seen() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (answered, answer) = std::sync::mpsc::channel();
    let (ask, asked) = std::sync::mpsc::channel::<&[u8]>();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for bytes in [OK, OTHER] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(bytes.as_bytes()).unwrap();
            stream.write_all(asked.recv().unwrap()).unwrap();
            answered.send(()).unwrap();
            std::mem::forget(stream);
        }
    });
    let client = client();
    let request = Request::post(&url).body(Full::default()).unwrap();
    let first = WholeAnswer::receive(client.request(&request).await.unwrap()).await.unwrap();
    assert_eq!(first.body, "ok");
    // The thread of the runtime blocks until the bytes are there.
    ask.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").unwrap();
    answer.recv().unwrap();
    ask.send(b"").unwrap();
    let second = WholeAnswer::receive(client.request(&request).await.unwrap()).await.unwrap();
    assert_eq!(second.body, "other");
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_is_left_for_another_one() {
    let server = Server::start(vec![[answer(OK), vec![Step::Close]].concat(), answer(OTHER)]).await;
    let client = client();
    ask(&client, &server).await.unwrap();
    server.wait_for_closed(1).await;
    assert_eq!(ask(&client, &server).await.unwrap().body, "other");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_request_that_was_sent_is_never_sent_again() {
    let lost = [answer(OK), vec![Step::Read, Step::Close]].concat();
    let (server, client) = (Server::start(vec![lost, answer(OTHER)]).await, client());
    ask(&client, &server).await.unwrap();
    let error = ask(&client, &server).await.unwrap_err();
    assert!(matches!(error, WireFault::Answer(HttpAnswerFault::Incomplete)), "{error:?}");
    assert_eq!((server.requests().len(), server.opened()), (2, 1));
    assert_eq!(ask(&client, &server).await.unwrap().body, "other");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error() {
    for text in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
    ] {
        let server = Server::start(vec![[answer(text), vec![Step::Close]].concat()]).await;
        let error = ask(&client(), &server).await.unwrap_err();
        assert!(matches!(error, WireFault::Answer(HttpAnswerFault::Incomplete)), "{text}: {error:?}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let request = Request::post(uri).body(Full::default()).unwrap();
    let error = send(&client(), &request).await.unwrap_err();
    assert!(matches!(error, WireFault::Unconnected(_)), "{error:?}");
    let nowhere = Request::post("/mcp").body(Full::default()).unwrap();
    assert!(matches!(send(&client(), &nowhere).await, Err(WireFault::NoServer)));
    let closed = Ways::closed().upstream_client(false);
    assert!(matches!(send(&closed, &request).await, Err(WireFault::Unconnected(_))));
}

/// The request is larger than the buffers of the system, so that the answer comes before its end.
#[tokio::test]
async fn an_answer_before_the_end_of_the_request_is_received() {
    let large = vec![b'x'; 32 << 20];
    let refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge";
    let refusing = vec![Step::Write(refusal.into()), Step::Wait];
    let (server, client) = (Server::start(vec![refusing, answer(OTHER)]).await, client());
    let answer = send(&client, &post(&server, large.clone())).await.unwrap();
    let answer = WholeAnswer::receive(answer).await.unwrap();
    assert_eq!((answer.status, &*answer.body), (StatusCode::PAYLOAD_TOO_LARGE, "large"));
    server.go_on();
    server.wait_for_closed(1).await;
    assert_eq!(ask(&client, &server).await.unwrap().body, "other");
}

#[tokio::test]
async fn a_request_is_sent_to_its_end_while_the_answer_is_received() {
    let large = vec![b'x'; 4 << 20];
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let script = [Step::Write(head.into()), Step::Read, Step::Write("2\r\nok\r\n0\r\n\r\n".into())];
    let (server, client) = (Server::start(vec![script.to_vec(), answer(OTHER)]).await, client());
    let response = send(&client, &post(&server, large.clone())).await.unwrap();
    assert_eq!(WholeAnswer::receive(response).await.unwrap().body, "ok");
    assert!(server.requests()[0].len() > large.len());
    assert_eq!(ask(&client, &server).await.unwrap().body, "other");
}

#[tokio::test]
async fn a_request_that_is_given_up_closes_its_connection() {
    let server = Server::start(vec![vec![Step::Read]]).await;
    let client = client();
    assert!(timeout(Duration::from_millis(200), client.request(&post(&server, "{}"))).await.is_err());
    server.wait_for_closed(1).await;
    for part in ["Content-Length: 3\r\n\r\nok", "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "\r\nok"] {
        let server = Server::start(vec![answer(&format!("HTTP/1.1 200 OK\r\n{part}"))]).await;
        let mut response = send(&client, &post(&server, "{}")).await.unwrap();
        let part = response.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(part, "ok");
        drop(response);
        server.wait_for_closed(1).await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_lifetime() {
    let server = Server::start(vec![answer(OK)]).await;
    let client = client_with_lifetime(Duration::from_millis(100));
    for closed in 1..=2 {
        ask(&client, &server).await.unwrap();
        server.wait_for_closed(closed).await;
        assert_eq!(server.opened(), closed);
    }
    ask(&client, &server).await.unwrap();
    drop(client);
    server.wait_for_closed(3).await;
}

#[tokio::test]
async fn idle_connections_are_bounded_and_the_newest_is_taken_first() {
    let idle = Arc::new(IdleConnections::new(Duration::from_secs(60)));
    let (server, other) = (Authority::from_static("a:1"), Authority::from_static("b:1"));
    (0..300).for_each(|number| idle.put(&server, number));
    assert_eq!(idle.take(&Authority::from_static("A:1")), Some(299));
    assert_eq!(idle.take(&other), None);
    let rest: Vec<_> = std::iter::from_fn(|| idle.take(&server)).collect();
    assert_eq!((rest.len(), rest.last()), (255, Some(&44)));
}

#[tokio::test]
async fn a_connection_is_not_taken_after_its_lifetime() {
    let idle = Arc::new(IdleConnections::new(Duration::from_millis(20)));
    let server = Authority::from_static("a:1");
    idle.put(&server, 1);
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(idle.take(&server), None);
}

#[tokio::test]
async fn changed_settings_apply_to_new_connections() {
    let part = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe";
    let slow = [answer(part), vec![Step::Wait, Step::Write("llo".into())]];
    let script = [answer(OK), answer(OK), slow.concat()].concat();
    let (server, ways) = (Server::start(vec![script, answer(OTHER)]).await, Ways::new(&Network::default()));
    let ask = async || ask(&ways.upstream_client(false), &server).await.unwrap().body;
    assert_eq!(ask().await, "ok");
    ways.take(Some(&Network::default()));
    assert_eq!(ask().await, "ok");
    let running = send(&ways.upstream_client(false), &post(&server, "{}")).await.unwrap();
    ways.take(Some(&Network { no_proxy: vec!["a.test".to_owned()], ..Network::default() }));
    assert_eq!(ask().await, "other");
    server.go_on();
    assert_eq!(WholeAnswer::receive(running).await.unwrap().body, "hello");
    server.wait_for_closed(1).await;
    assert_eq!(server.opened(), 2);
}

#[tokio::test]
async fn each_of_many_requests_at_the_same_time_gets_its_own_answer() {
    let scripts = (0..64).map(|number| {
        let one = answer(&format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{number:02}"));
        vec![one; 8].concat()
    });
    let (server, client) = (Server::start(scripts.collect()).await, client());
    for _ in 0..4 {
        let asked = (0..64).map(|_| ask(&client, &server));
        let mut bodies: Vec<_> = futures_util::future::join_all(asked)
            .await
            .into_iter()
            .map(|answer| answer.unwrap().body)
            .collect();
        bodies.sort();
        bodies.dedup();
        assert_eq!(bodies.len(), 64, "no two requests share a connection");
    }
    assert_eq!(server.opened(), 64);
}
