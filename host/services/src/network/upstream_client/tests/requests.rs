//! The bytes of requests.

use super::*;

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// The request as the server received it. `SERVER` is the server's address.
async fn sent(change: impl FnOnce(&mut Request<Full<Bytes>>)) -> String {
    let server = Server::start(vec![answer(EMPTY)]).await;
    let mut request = post(&server, "{}");
    change(&mut request);
    let response = send(&client(), &request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let address = server.url.trim_start_matches("http://").trim_end_matches("/mcp");
    server.requests().concat().replace(address, "SERVER")
}

#[tokio::test]
async fn a_request_has_its_target_host_and_length() {
    let plain = "POST /mcp HTTP/1.1\r\nhost: SERVER\r\nx-test: 1\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(sent(|_| {}).await, plain);
    let uri = |uri: &'static str| {
        move |request: &mut Request<Full<Bytes>>| {
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = Some(uri.parse().unwrap());
            *request.uri_mut() = ::http::Uri::from_parts(parts).unwrap();
        }
    };
    assert!(sent(uri("/a?b=c%20d")).await.starts_with("POST /a?b=c%20d HTTP/1.1\r\n"));
    assert!(sent(uri("/")).await.starts_with("POST / HTTP/1.1\r\n"));
    assert!(sent(uri("?b")).await.starts_with("POST /?b HTTP/1.1\r\n"));
    let empty = |method: Method| {
        move |request: &mut Request<Full<Bytes>>| {
            *request.method_mut() = method;
            *request.body_mut() = Full::default();
        }
    };
    assert_eq!(sent(empty(Method::GET)).await, "GET /mcp HTTP/1.1\r\nhost: SERVER\r\nx-test: 1\r\n\r\n");
    let post = "POST /mcp HTTP/1.1\r\nhost: SERVER\r\nx-test: 1\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(sent(empty(Method::POST)).await, post);
}

/// Headers of the configuration that would move the end of the request have no effect.
#[tokio::test]
async fn a_request_ends_where_its_body_ends() {
    let framed = |request: &mut Request<Full<Bytes>>| {
        request.headers_mut().insert("content-length", "1".parse().unwrap());
        request.headers_mut().insert("transfer-encoding", "chunked".parse().unwrap());
        request.headers_mut().insert("host", "other.test".parse().unwrap());
    };
    let expected = "POST /mcp HTTP/1.1\r\nhost: other.test\r\nx-test: 1\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(sent(framed).await, expected);
}

#[tokio::test]
async fn the_host_of_a_request_has_no_usual_port_and_no_user() {
    let host = |uri: &'static str| {
        let mut head = Vec::new();
        let request = Request::builder().uri(uri).body(()).unwrap();
        super::super::request_head::write(&mut head, &request, 0);
        let text = String::from_utf8(head).unwrap();
        text.lines().nth(1).unwrap().trim_start_matches("host: ").to_owned()
    };
    assert_eq!(host("http://a.test:80/"), "a.test");
    assert_eq!(host("http://a.test:443/"), "a.test:443");
    assert_eq!(host("https://a.test:443/"), "a.test");
    assert_eq!(host("https://user:secret@a.test:8443/"), "a.test:8443");
    assert_eq!(host("http://[::1]:8080/"), "[::1]:8080");
}
