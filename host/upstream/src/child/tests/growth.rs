//! The cost of a child's output grows no faster than its size.

use std::collections::BTreeSet;

use tokio::io::AsyncWriteExt;

use super::*;
use crate::child::audience::{ChildSessions, Inbox};
use crate::child::pipes::Pipes;
use witgate_testing::growth::assert_linear;

fn member(session: &str, subscriptions: impl Iterator<Item = String>) -> Arc<Member> {
    let shares = Shares::new(SUBSCRIPTIONS);
    let share = |uri| Some((uri, shares.take(&Party::Everybody)?));
    Arc::new(Member {
        session: session.into(),
        owner: SessionOwner::new(super::principal_named("ada"), false),
        inbox: Inbox::default(),
        capabilities: BTreeSet::new(),
        subscriptions: Mutex::new(subscriptions.filter_map(share).collect()),
    })
}

/// Has a connection with one session read all that a child says until it ends.
fn read(said: String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut child, output) = tokio::io::duplex(64 << 10);
        let audience = Arc::new(ChildSessions::default());
        audience.join(member("one", ["file:///a".to_owned()].into_iter()));
        audience.join(member("two", std::iter::empty()));
        let pipes = Pipes { input: Box::new(tokio::io::sink()), output: Box::new(output), process: None };
        let connection = ChildConnection::begin(
            pipes,
            ConversationTerms {
                name: "small".into(),
                audience,
                modern: false,
                common: false,
                max_message: 16 << 20,
            },
        );
        child.write_all(said.as_bytes()).await.unwrap();
        drop(child);
        connection.until_ended().await;
    });
}

fn line(method: &str, params: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{params}}}\n")
}

fn members(count: usize) -> String {
    (0..count).map(|n| format!(r#""k{n}":{n}"#)).collect::<Vec<_>>().join(",")
}

#[test]
fn notifications_of_a_child_are_read_in_linear_time() {
    assert_linear("keys of a notification", 20_000, |n| line("x/y", &format!("{{{}}}", members(n))), read);
    assert_linear(
        "keys of _meta",
        20_000,
        |n| line("x/y", &format!(r#"{{"_meta":{{{}}}}}"#, members(n))),
        read,
    );
    assert_linear(
        "progress",
        2_000,
        |n| line("notifications/progress", r#"{"progressToken":7}"#).repeat(n),
        read,
    );
    let updated = |n: usize| {
        (0..n).map(|n| line("notifications/resources/updated", &format!(r#"{{"uri":"file:///a/{n}"}}"#)))
    };
    assert_linear("updates", 1_000, |n| updated(n).collect::<String>(), read);
    assert_linear(
        "a long URI",
        500_000,
        |n| line("notifications/resources/updated", &format!(r#"{{"uri":"x:{}"}}"#, "/a".repeat(n))),
        read,
    );
    let long = |n: usize| {
        (0..n).map(|n| {
            line("notifications/tools/list_changed", &format!(r#"{{"a":"{}{n}"}}"#, "x".repeat(4_000)))
        })
    };
    assert_linear("long announcements", 500, |n| long(n).collect::<String>(), read);
}

#[test]
fn requests_and_answers_of_a_child_are_read_in_linear_time() {
    let request = r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#.to_owned() + "\n";
    assert_linear("requests", 1_000, |n| request.repeat(n), read);
    let answer = r#"{"jsonrpc":"2.0","id":7,"result":{}}"#.to_owned() + "\n";
    assert_linear("answers that nobody waits for", 450, |n| answer.repeat(n), read);
}

#[test]
fn subscriptions_are_looked_up_in_linear_time() {
    let subscribed = |n: usize| member("one", (0..n).map(|n| format!("file:///a/{n}")));
    assert_linear("subscriptions", 5_000, subscribed, |member| {
        for n in 0..1_000 {
            assert!(!member.subscribes(&format!("file:///b/{n}")));
        }
    });
    let uri = |n: usize| format!("file:///{}", "a/".repeat(n));
    assert_linear("segments", 2_000, uri, |uri| {
        assert!(!member("one", ["x:".to_owned()].into_iter()).subscribes(&uri))
    });
}

#[test]
fn a_subscription_is_notified_of_its_resource_and_parts_of_it() {
    let member = member("one", ["file:///pub", "file:///docs/", "demo://a"].map(str::to_owned).into_iter());
    for uri in [
        "file:///pub",
        "file:///pub/a",
        "file:///pub?a",
        "file:///pub#a",
        "file:///docs/",
        "file:///docs/a",
        "demo://a/b/c",
    ] {
        assert!(member.subscribes(uri), "{uri}");
    }
    for uri in
        ["file:///public-secret/a", "file:///pub%20", "file:///pu", "file:///docs", "file:///", "demo://ab"]
    {
        assert!(!member.subscribes(uri), "{uri}");
    }
}

/// With one session that has subscribed and one that has not, what a child says of a resource by an odd name is nobody's.
#[tokio::test]
async fn updates_of_an_unreadable_resource_are_dropped() {
    let (mut child, output) = tokio::io::duplex(64 << 10);
    let audience = Arc::new(ChildSessions::default());
    let subscriber = member("one", ["file:///pub".to_owned()].into_iter());
    audience.join(Arc::clone(&subscriber));
    audience.join(member("two", std::iter::empty()));
    let pipes = Pipes { input: Box::new(tokio::io::sink()), output: Box::new(output), process: None };
    let connection = ChildConnection::begin(
        pipes,
        ConversationTerms {
            name: "small".into(),
            audience,
            modern: false,
            common: false,
            max_message: 16 << 20,
        },
    );
    for uri in ["file:///public-secret/a", "file:///pub/../secret", "FILE:///pub/a", "file:///pub/a"] {
        let said = line("notifications/resources/updated", &json!({ "uri": uri }).to_string());
        child.write_all(said.as_bytes()).await.unwrap();
    }
    drop(child);
    connection.until_ended().await;
    let heard = next(&mut audience::open(subscriber)).await;
    assert_eq!(heard["params"]["uri"], "file:///pub/a");
}

#[test]
fn the_subscriptions_of_one_session_are_limited() {
    let member = member("one", (0..1_000).map(|n| format!("file:///{n}")));
    let shares = Shares::new(SUBSCRIPTIONS);
    let share = || shares.take(&Party::Everybody);
    assert!(matches!(
        member.subscribe("file:///more", share),
        Err(Rejection::Malformed(MessageFault::InvalidRequest(_)))
    ));
    assert_eq!(member.subscribe("file:///7", share), Ok(()));
}

/// A caller who goes away gives the room of their message back; what waits for a child is bounded by itself.
#[tokio::test]
async fn a_child_that_does_not_read_is_sent_a_limited_amount() {
    let (_unread, input) = tokio::io::duplex(64 << 10);
    let (_silent, output) = tokio::io::duplex(64);
    let pipes = Pipes { input: Box::new(input), output: Box::new(output), process: None };
    let audience = Arc::new(ChildSessions::default());
    let terms = ConversationTerms {
        name: "small".into(),
        audience,
        modern: false,
        common: false,
        max_message: 16 << 20,
    };
    let connection = ChildConnection::begin(pipes, terms);
    let mut on_their_way = 0;
    for _ in 0..24 {
        let asked = connection.request(Asker::default(), |_| Bytes::from(vec![b' '; 1 << 20]));
        let asked = tokio::time::timeout(Duration::from_millis(20), asked).await;
        on_their_way += usize::from(asked.is_ok());
    }
    assert_eq!(on_their_way, 4, "4 MiB, the one that is being written included");
    assert_eq!(connection.open_requests(), on_their_way, "nobody waits for the others");
}

#[test]
fn lines_are_read_in_linear_time() {
    use crate::child::wire::Incoming;
    use witgate_runtime::lines::input::{LineOutcome, LineReader, one_line};
    let read = |text: String| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut lines = LineReader::new(text.as_bytes(), 16 << 20);
            while let LineOutcome::Line(line) = lines.next().await.unwrap() {
                assert!(Incoming::read(&line).is_some());
            }
        });
    };
    let line = |n: usize| format!(r#"{{"jsonrpc":"2.0","method":"x","params":{{{}}}}}"#, members(n));
    assert_linear("lines", 2_000, |n| (line(3) + "\n").repeat(n), read);
    assert_linear("a line", 40_000, line, read);
    assert_linear(
        "line ends in a message",
        400_000,
        |n| Bytes::from("{\n}".repeat(n)),
        |message| drop(one_line(message)),
    );
}
