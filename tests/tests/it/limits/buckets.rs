//! The calls that share a bucket, for each property that a limit can distinguish and each choice of its callers; and
//! clients whom a proxy names at the beginning of a connection.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;
use witgate_tests::gateway::Setup;
use witgate_tests::wire::Request;

const CONFIG: &str = "[upstreams.a]\nown_tools = true\npath = '/a/mcp'\n[upstreams.b]\nown_tools = true\n\
    path = '/b/mcp'\n[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
    [policies.roles]\nkind = 'rbac'\n[policies.roles.config.roles]\nguest = { allow = ['*'] }\n\
    staff = { allow = ['*'] }\nadmin = { allow = ['*'] }\n\
    [pipeline]\nanonymous = { roles = ['guest'] }\nauthenticate = ['keys']\nauthorize = ['roles']\n";

/// A call: caller, address, path, and its status.
type TableCall = (&'static str, &'static str, &'static str, u16);

/// The calls that are made one after the other under each limit, which admits one call an hour.
const TABLE: &[(&str, &[TableCall])] = &[
    (
        "per = ['role']",
        &[
            ("ann-staff", "192.0.2.1", "/a/mcp", 200),
            ("bob-staff", "192.0.2.2", "/b/mcp", 429),
            ("cy-admin", "192.0.2.1", "/a/mcp", 200),
            ("nobody", "192.0.2.1", "/a/mcp", 200),
        ],
    ),
    (
        "per = ['credential']",
        &[
            ("ann-staff", "192.0.2.1", "/a/mcp", 200),
            ("cy-admin", "192.0.2.2", "/b/mcp", 429),
            ("nobody", "192.0.2.1", "/a/mcp", 200),
            ("nobody", "192.0.2.2", "/a/mcp", 429),
        ],
    ),
    (
        "per = ['peer']",
        &[
            ("ann-staff", "192.0.2.1", "/a/mcp", 200),
            ("cy-admin", "192.0.2.1", "/b/mcp", 429),
            ("ann-staff", "192.0.2.2", "/a/mcp", 200),
            ("ann-staff", "2001:db8::1", "/a/mcp", 200),
            ("cy-admin", "2001:db8::ffff:0:2", "/a/mcp", 429),
            ("ann-staff", "2001:db8:0:1::1", "/a/mcp", 200),
        ],
    ),
    (
        "per = ['upstream']",
        &[
            ("ann-staff", "192.0.2.1", "/a/mcp", 200),
            ("cy-admin", "192.0.2.2", "/a/mcp", 429),
            ("ann-staff", "192.0.2.1", "/b/mcp", 200),
        ],
    ),
    (
        "per = ['role', 'upstream']",
        &[
            ("ann-staff", "192.0.2.1", "/a/mcp", 200),
            ("ann-staff", "192.0.2.1", "/b/mcp", 200),
            ("cy-admin", "192.0.2.1", "/a/mcp", 200),
            ("bob-staff", "192.0.2.1", "/a/mcp", 429),
        ],
    ),
    (
        "roles = ['staff']",
        &[
            ("ann-staff", "192.0.2.1", "/a/mcp", 200),
            ("bob-staff", "192.0.2.2", "/a/mcp", 429),
            ("cy-admin", "192.0.2.1", "/a/mcp", 200),
            ("cy-admin", "192.0.2.1", "/a/mcp", 200),
        ],
    ),
    (
        "kinds = ['anonymous']",
        &[
            ("nobody", "192.0.2.1", "/a/mcp", 200),
            ("nobody", "192.0.2.2", "/a/mcp", 429),
            ("ann-staff", "192.0.2.1", "/a/mcp", 200),
            ("cy-admin", "192.0.2.1", "/a/mcp", 200),
        ],
    ),
];

#[test]
fn calls_share_the_buckets_of_the_distinguished_properties() {
    let mut stored = None;
    for (limit, calls) in TABLE {
        let setup = Setup::new();
        let server = "trusted_proxies = ['127.0.0.1']\nforwarded = 'x-forwarded-for'";
        setup.config(server, &format!("{CONFIG}[limits.one]\nrate = '1/h'\n{limit}\n"));
        let (keys, store) = stored.get_or_insert_with(|| {
            let keys = ["ann-staff", "bob-staff", "cy-admin"]
                .map(|name| (name, setup.key(&[name, "--role", name.split_once('-').unwrap().1])));
            (keys, std::fs::read(setup.dir().join("keys.toml")).unwrap())
        });
        setup.file("keys.toml", &*store);
        let gateway = setup.serve();
        for (number, (name, peer, path, status)) in calls.iter().enumerate() {
            let params = json!({ "name": "get_time", "arguments": {} });
            let call = Request::stateless(&gateway.address(), path, "tools/call", params)
                .with("X-Forwarded-For", peer);
            let key = keys.iter().find(|(other, _)| other == name);
            let answer = match key {
                Some((_, key)) => call.with("X-API-Key", key).send(),
                None => call.send(),
            };
            assert_eq!(answer.status, *status, "{limit}, call {number}: {answer:?}");
        }
    }
}

/// A header of the PROXY protocol, version 2, for TCP over IPv4.
fn proxy_header(client: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(client);
    header.extend([127, 0, 0, 1]);
    header.extend([0x30, 0x39, 0x1f, 0x90]);
    header
}

#[test]
fn a_client_whom_a_proxy_names_at_the_beginning_is_denied_and_not_the_proxy() {
    let setup = Setup::new();
    let server =
        "trusted_proxies = ['127.0.0.1']\nforwarded = 'proxy-protocol'\ndeny_peers = ['192.0.2.0/24']";
    setup.config(server, CONFIG);
    setup.key(&["ann", "--role", "staff"]);
    let gateway = setup.serve();
    let call = |client| {
        let params = json!({ "name": "get_time", "arguments": {} });
        let call = Request::stateless(&gateway.address(), "/a/mcp", "tools/call", params);
        call.preceded_by(&proxy_header(client)).send().status
    };
    assert_eq!(call([198, 51, 100, 7]), 200);
    // They get no answer at all, and others through the same proxy do.
    let mut denied = TcpStream::connect(gateway.address()).unwrap();
    denied.write_all(&proxy_header([192, 0, 2, 7])).unwrap();
    let mut read = Vec::new();
    let _ = denied.read_to_end(&mut read);
    assert!(read.is_empty(), "{}", String::from_utf8_lossy(&read));
    assert_eq!(call([198, 51, 100, 7]), 200);
}
