//! Callers of a shared child who do not read what it says to them.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncWriteExt, DuplexStream};

use super::*;
use crate::child::audience::ChildSessions;
use crate::child::pipes::Pipes;
use witgate_base::party::{ANONYMOUS, Principal};

/// Far below what a caller who does not read may hold up the child when they are alone, and long for a busy machine.
const SOON: Duration = Duration::from_secs(3);
/// Messages that one request has room for.
const MESSAGES: u64 = 64;
const MIB: usize = 1 << 20;

/// A connection, and the end that its child speaks into.
struct Spoken {
    connection: ChildConnection,
    child: DuplexStream,
    said: u64,
}

/// A request, with its number.
struct Asked {
    exchange: ChildExchange,
    number: String,
}

impl Spoken {
    fn shared() -> Self {
        let (child, output) = tokio::io::duplex(64 << 10);
        let pipes = Pipes { input: Box::new(tokio::io::sink()), output: Box::new(output), process: None };
        let audience = Arc::new(ChildSessions::default());
        let terms = ConversationTerms {
            name: "small".into(),
            audience,
            modern: true,
            common: true,
            max_message: 16 << 20,
        };
        Self { connection: ChildConnection::begin(pipes, terms), child, said: 0 }
    }

    async fn ask(&self, principal: &Principal, peer: Option<IpAddr>) -> Asked {
        let ask = Asker {
            owner: Some(Owner::new(principal, None)),
            party: principal.clone().party(peer),
            id: "1".into(),
            token: Some("1".into()),
            ..Asker::default()
        };
        let mut number = String::new();
        let compose = |own: &str| {
            own.clone_into(&mut number);
            Bytes::from_static(b"{}")
        };
        let exchange = self.connection.request(ask, compose).await.unwrap();
        Asked { exchange, number }
    }

    async fn say(&mut self, line: &str) {
        self.child.write_all(format!("{{\"jsonrpc\":\"2.0\",{line}}}\n").as_bytes()).await.unwrap();
        self.said += 1;
    }

    async fn say_progress(&mut self, asked: &Asked, times: u64, bytes: usize) {
        let (number, message) = (&asked.number, "x".repeat(bytes));
        let params = format!(r#"{{"progressToken":{number},"progress":1,"message":"{message}"}}"#);
        for _ in 0..times {
            self.say(&format!(r#""method":"notifications/progress","params":{params}"#)).await;
        }
    }

    async fn answer(&mut self, asked: &Asked) {
        self.say(&format!(r#""id":{},"result":{{}}"#, asked.number)).await;
    }

    /// Waits until so many lines have been taken from the child.
    async fn until_read(&self, lines: u64) {
        while self.connection.inner.lines_read.load(Ordering::Relaxed) < lines {
            tokio::task::yield_now().await;
        }
    }
}

impl Asked {
    /// Hears everything, and says how many notes came before the end.
    async fn receive_all(mut self) -> (u64, Result<ChildReply, NoResponse>) {
        let mut notes = 0;
        loop {
            match self.exchange.next(Some(SOON)).await {
                Ok(ChildReply::Note(_)) => notes += 1,
                end => return (notes, end),
            }
        }
    }
}

#[tokio::test]
async fn a_new_caller_is_answered_at_once_beside_one_that_does_not_read() {
    let [here, there] = ["192.0.2.1", "192.0.2.2"].map(|peer| Some(peer.parse().unwrap()));
    let nameless = || Principal::new(ANONYMOUS.into(), None, "");
    for (slow, other) in [
        ((principal_named("ada"), here), (principal_named("bob"), here)),
        ((nameless(), here), (nameless(), there)),
    ] {
        let mut spoken = Spoken::shared();
        let slow = spoken.ask(&slow.0, slow.1).await;
        spoken.say_progress(&slow, 2 * MESSAGES, 1).await;
        spoken.until_read(MESSAGES + 1).await;
        // The caller is alone for a while, and by then it does not help to look only once who else is there.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(
            spoken.connection.inner.lines_read.load(Ordering::Relaxed),
            MESSAGES + 1,
            "the child waits for them"
        );
        let other = spoken.ask(&other.0, other.1).await;
        spoken.answer(&other).await;
        let received = tokio::time::timeout(SOON, other.receive_all()).await.expect("it was held up");
        assert!(matches!(received, (0, Ok(ChildReply::Last(_)))), "{received:?}");
        spoken.answer(&slow).await;
        let received = slow.receive_all().await;
        assert!(matches!(received, (128, Ok(ChildReply::Last(_)))), "they have lost nothing: {received:?}");
    }
}

#[tokio::test]
async fn many_callers_that_do_not_read_delay_no_other() {
    let mut spoken = Spoken::shared();
    let other = spoken.ask(&principal_named("bob"), None).await;
    let answered = async {
        let mut slow = Vec::new();
        for number in 0..40 {
            let asked = spoken.ask(&principal_named(&format!("slow-{number}")), None).await;
            spoken.say_progress(&asked, MESSAGES + 2, 1).await;
            slow.push(asked);
        }
        spoken.answer(&other).await;
        other.receive_all().await
    };
    let received = tokio::time::timeout(SOON, answered).await.expect("it was held up");
    assert!(matches!(received, (0, Ok(ChildReply::Last(_)))), "{received:?}");
}

#[tokio::test]
async fn unread_messages_of_one_party_are_limited() {
    let mut spoken = Spoken::shared();
    let _other = spoken.ask(&principal_named("bob"), None).await;
    let (first, second) =
        (spoken.ask(&principal_named("ada"), None).await, spoken.ask(&principal_named("ada"), None).await);
    let third = spoken.ask(&principal_named("eve"), None).await;
    for slow in [&first, &second, &third] {
        spoken.say_progress(slow, 31, MIB - 1024).await;
        spoken.answer(slow).await;
    }
    spoken.until_read(spoken.said).await;
    let flood =
        |end: &Result<ChildReply, NoResponse>| matches!(end, Err(NoResponse::Fault(UpstreamFault::Flood, _)));
    let third = third.receive_all().await;
    assert!(matches!(third, (31, Ok(ChildReply::Last(_)))), "another's share is another's: {third:?}");
    let (of_first, end) = first.receive_all().await;
    assert!(matches!((of_first, &end), (31, Ok(ChildReply::Last(_)))), "{of_first} {end:?}");
    let (of_second, end) = second.receive_all().await;
    assert!(of_second <= 18 && flood(&end), "there was no spare room left: {of_second} {end:?}");
}

#[tokio::test]
async fn a_single_caller_that_does_not_read_makes_the_child_wait() {
    let mut spoken = Spoken::shared();
    let slow = spoken.ask(&principal_named("ada"), None).await;
    let mut gone = spoken.ask(&principal_named("bob"), None).await;
    // Whoever has gone does not wait; the request stays, for the child has to answer it.
    gone.exchange = spoken.ask(&principal_named("ada"), None).await.exchange;
    spoken.say_progress(&slow, 3 * MESSAGES, 1).await;
    spoken.until_read(MESSAGES + 1).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(spoken.connection.inner.lines_read.load(Ordering::Relaxed), MESSAGES + 1);
    spoken.answer(&slow).await;
    let received = slow.receive_all().await;
    assert!(matches!(received, (192, Ok(ChildReply::Last(_)))), "{received:?}");
}
