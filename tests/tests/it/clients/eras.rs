//! The era of a connection, for clients of either era in front of upstreams of either era.

use serde_json::json;
use tokio_util::sync::CancellationToken;
use witgate_tests::clients::{Client, Clients, Session, Stage};
use witgate_tests::fixture::Fixture;
use witgate_tests::fixture::transports::{Endpoint, Http};

use super::{ALLOWED, ALLOWED_OF_FIXTURE, Attempt, assert_served, everything, guard, make, setup};

const OLDER: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// Clients with an option for the era.
const OF_BOTH_ERAS: [Client; 5] =
    [Client::TsClient, Client::PyMcp, Client::PyFastmcp, Client::Inspector, Client::McpRemote];

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_both_eras_find_the_era_of_each_upstream() {
    let clients = Clients::installed().unwrap();
    let old = clients.everything_http().await.unwrap();
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let both = endpoint.url();
    let stop = CancellationToken::new();
    let _stopping = stop.clone().drop_guard();
    tokio::spawn(endpoint.serve(Fixture::new(), Http::default(), stop));

    let setup = setup();
    let urls = format!("[upstreams.old]\nurl = {:?}\n[upstreams.both]\nurl = {both:?}", old.url);
    guard(&setup, &format!("{}\n{urls}", everything(&clients)));
    let key = setup.key(&["ada", "--role", "caller"]);
    let witgate = setup.serve();
    let at = |upstream: &str| {
        Session::http(format!("http://{}/{upstream}/mcp", witgate.address())).header("X-API-Key", &key)
    };

    let mut attempts = Vec::new();
    for (upstream, tool, arguments) in [
        ("everything", ALLOWED[0], json!({ "message": "hi" })),
        ("old", ALLOWED[0], json!({ "message": "hi" })),
        ("both", ALLOWED_OF_FIXTURE, json!({})),
    ] {
        let session = at(upstream).call(tool, arguments);
        for client in OF_BOTH_ERAS {
            let modes: &[&str] =
                if upstream == "old" { &["auto", MODERN] } else { &["auto", "legacy", MODERN] };
            for mode in modes {
                attempts.push(Attempt::new(
                    format!("{upstream}, {mode}"),
                    client,
                    &session.clone().mode(mode),
                ));
            }
        }
        attempts.push(Attempt::new(format!("{upstream}, legacy"), Client::TsSdk, &session));
    }
    for (attempt, report) in make(&clients, attempts).await {
        let name = &attempt.name;
        let of_both = name.contains("both");
        let is_pinned = name.ends_with(MODERN);
        let discovers = matches!(attempt.client, Client::TsClient | Client::Inspector);
        if is_pinned && discovers && !of_both {
            // It must be told that this era is spoken, which is not said of an upstream that does
            // not: those who can choose would stay with what is bridged, and lose the rest.
            let failure = report.error.unwrap_or_else(|| panic!("{name} was served"));
            assert_eq!(failure.stage, Stage::Connect, "{name}");
            assert!(failure.message.contains("pinned protocol version"), "{name}: {failure:?}");
            continue;
        }
        let chosen = match attempt.client {
            // What it speaks before the bridge.
            Client::McpRemote => OLDER,
            _ if is_pinned => MODERN,
            _ if of_both && name.ends_with("auto") => MODERN,
            _ => OLDER,
        };
        assert_eq!(report.protocol.as_deref(), Some(chosen), "{name}: {report:?}");
        match of_both {
            false => assert_served(&attempt, &report),
            true => {
                assert_eq!(report.error, None, "{name}");
                assert_eq!(report.listed, Some(vec![ALLOWED_OF_FIXTURE.to_owned()]), "{name}");
                let text = report.text().unwrap();
                assert!(text.contains("simple text"), "{name}: {text}");
            }
        }
    }
}
