//! Proxies in front of Witgate, and the clients that they forward for.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;
use witgate_tests::gateway::{Running, Setup};
use witgate_tests::pki::{Authority, Order};
use witgate_tests::tls_client::TlsClient;
use witgate_tests::wire::Request;

const REST: &str = "[upstreams.own]\nown_tools = true\n[policies.roles]\nkind = 'rbac'\n\
    [policies.roles.config.roles]\nguest = { allow = ['*'] }\n\
    [pipeline]\nanonymous = { roles = ['guest'] }\nauthorize = ['roles']\n";

fn serve(server: &str) -> Running {
    let setup = Setup::new();
    setup.config(server, REST);
    setup.serve()
}

/// A call whose record is found by its `name`.
fn call(gateway: &Running, name: &str) -> Request {
    Request::stateless(&gateway.address(), "/mcp", "tools/call", json!({ "name": name, "arguments": {} }))
}

/// The peer in the record of a call.
fn peer_of(gateway: &Running, name: &str) -> String {
    let log = gateway.await_log(&format!("\"{name}\""));
    let line =
        log.lines().find(|line| line.contains("witgate::audit") && line.contains(&format!("\"{name}\"")));
    line.unwrap().split("peer=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[test]
fn a_trusted_proxy_names_the_client_in_one_header() {
    for (source, name, good, other, bad) in [
        (
            "x-forwarded-for",
            "X-Forwarded-For",
            "6.6.6.6, 192.0.2.7",
            ("Forwarded", "for=6.6.6.6"),
            ["6.6.6.6, unknown", "6.6.6.6, ", "\u{e9}"],
        ),
        (
            "forwarded",
            "Forwarded",
            "for=6.6.6.6, for=\"192.0.2.7:80\";proto=https",
            ("X-Forwarded-For", "6.6.6.6"),
            ["for=6.6.6.6, for=_hidden", "for=6.6.6.6;a=\", for=192.0.2.7", "\u{e9}"],
        ),
    ] {
        let gateway = serve(&format!("trusted_proxies = ['127.0.0.0/8']\nforwarded = '{source}'"));
        let request = call(&gateway, "a").with(name, good).with("X-Forwarded-Host", "evil.example");
        let request = request.with("X-Forwarded-Proto", "https").with(other.0, other.1);
        assert_ne!(request.send().status, 400, "{source}");
        assert_eq!(peer_of(&gateway, "a"), "192.0.2.7");
        call(&gateway, "b").with(other.0, other.1).send();
        assert_eq!(peer_of(&gateway, "b"), "127.0.0.1", "{source} alone counts");
        for bad in bad {
            let answer = call(&gateway, "c").with(name, bad).send();
            assert_eq!(answer.refusal(), (400, -32600, "invalid-request".to_owned()), "{bad}");
        }
        let gateway = serve(&format!("trusted_proxies = ['10.0.0.0/8']\nforwarded = '{source}'"));
        assert_ne!(call(&gateway, "d").with(name, bad[0]).send().status, 400);
        assert_eq!(peer_of(&gateway, "d"), "127.0.0.1", "nobody else is believed");
    }
}

/// The header of a proxy for a client at 192.0.2.`last`.
fn header(last: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([192, 0, 2, last, 127, 0, 0, 1, 1, 1, 2, 2]);
    header
}

/// The status of the answer to these bytes. 0: there is none.
fn answered(stream: &mut TcpStream, bytes: &[u8]) -> u16 {
    let _ = stream.write_all(bytes);
    let mut head = [0; 12];
    match stream.read_exact(&mut head) {
        Ok(()) => std::str::from_utf8(&head[9..]).unwrap().parse().unwrap(),
        Err(_) => 0,
    }
}

#[test]
fn the_proxy_protocol_names_the_client_before_anything_else() {
    let gateway = serve(
        "trusted_proxies = ['127.0.0.1']\nforwarded = 'proxy-protocol'\nmax_connections = 64\n\
         max_connections_per_peer = 2",
    );
    // Whoever waited for the endpoint has said nothing, and so has this.
    gateway.await_log("without a header of the PROXY protocol");
    let request = call(&gateway, "a").with("X-Forwarded-For", "6.6.6.6");
    assert_eq!(request.send().status, 0, "without a header there is no connection");
    assert_ne!(request.clone().preceded_by(&header(7)).send().status, 0);
    assert_eq!(peer_of(&gateway, "a"), "192.0.2.7");
    // A client may send the header as well, after the proxy's: its bytes are no request.
    let twice = call(&gateway, "b").preceded_by(&[header(7), header(8)].concat());
    assert_eq!(twice.send().status, 400);
    // The share of one address does not apply to the proxy, but to each of its clients.
    let get = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut connections: Vec<_> = (0..9).map(|_| TcpStream::connect(gateway.address()).unwrap()).collect();
    let statuses: Vec<_> = (0..9_u8)
        .zip(&mut connections)
        .map(|(n, stream)| answered(stream, &[header(10 + n / 2).as_slice(), get].concat()))
        .collect();
    assert_eq!(statuses, [404; 9]);
}

#[test]
fn the_proxy_protocol_comes_before_tls() {
    let authority = Authority::new("CA");
    let own = authority.issue(&Order::server("127.0.0.1"));
    let setup = Setup::new();
    setup.file("own.pem", &own.pem);
    setup.file("own.key", &own.key);
    setup.config(
        "trusted_proxies = ['127.0.0.1']\nforwarded = 'proxy-protocol'\n\
         [server.tls]\ncertificate = 'own.pem'\nkey = { file = 'own.key' }",
        REST,
    );
    let gateway = setup.serve();
    let client = TlsClient::new(&authority, None);
    let answer = client.connect_after(&gateway.address(), &header(7)).send(&call(&gateway, "a"));
    assert!(answer.is_some());
    assert_eq!(peer_of(&gateway, "a"), "192.0.2.7");
    assert!(client.send(&call(&gateway, "b")).is_none());
}
