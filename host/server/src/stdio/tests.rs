use futures_util::stream;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream, Lines as TokioLines, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use witgate_message::call::Call;

const LINE: usize = 4 << 20;

/// A test double of the flow that answers by method, and records what it sees.
#[derive(Default)]
struct Echo {
    seen: Mutex<Vec<String>>,
    go: Notify,
    dropped: Arc<Notify>,
}

/// A guard that reports when its request is dropped.
struct Dropped(Arc<Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl MessageHandler for Echo {
    async fn handle(&self, sent: IncomingMessage) -> Result<MessageAnswer, RejectedMessage> {
        let call = Call::parse(sent.body)?;
        let shown = sent.shown.first_of(&[Scheme::Header], &[], None).map(|shown| shown.value.to_owned());
        let note = format!(
            "{} {} {}",
            call.method(),
            sent.session.as_deref().unwrap_or("-"),
            shown.unwrap_or_default()
        );
        self.seen.lock().push(note);
        let id = call.id().unwrap_or_default().to_owned();
        let response = |result: &str| {
            let message = Bytes::from(format!("{{\"jsonrpc\":\"2.0\",\n\"id\":{id},\"result\":{result}}}"));
            AnswerBody::message(message)
        };
        let body = match call.method() {
            "initialize" => return Ok(MessageAnswer { session: Some("s1".into()), body: response("{}") }),
            "slow" => {
                let _dropped = Dropped(Arc::clone(&self.dropped));
                self.go.notified().await;
                response("\"slow\"")
            }
            "stream" => {
                let event = |data: String| Event { data: data.into(), ..Event::default() };
                let last = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":1}}"#);
                AnswerBody::Events(
                    stream::iter([event(String::new()), event("{\"note\":1}".into()), event(last)]).boxed(),
                )
            }
            "denied" => {
                return Err(RejectedMessage { id: Some(id.into()), ..Rejection::NoCredential.into() });
            }
            method if method.starts_with("notifications/") => AnswerBody::Accepted,
            _ => response("\"quick\""),
        };
        Ok(MessageAnswer { session: None, body })
    }

    async fn listen(&self, sent: IncomingMessage) -> Result<BoxStream<'static, Event>, RejectedMessage> {
        assert_eq!(sent.session.as_deref(), Some("s1"));
        let event = Event { data: "{\"method\":\"own\"}".into(), ..Event::default() };
        Ok(stream::iter([event]).chain(stream::pending()).boxed())
    }
}

struct Talk {
    pipeline: Arc<Echo>,
    to: Option<WriteHalf<DuplexStream>>,
    from: TokioLines<BufReader<ReadHalf<DuplexStream>>>,
    stop: Arc<Notify>,
    serving: JoinHandle<()>,
}

fn talk() -> Talk {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (from, to) = tokio::io::split(ours);
    let pipeline = Arc::new(Echo::default());
    let stop = Arc::new(Notify::new());
    let environment = EnvironmentCredentials { api_key: Some("the-key".into()), bearer: None };
    let bounds =
        StdioSettings { grace: Duration::from_secs(5), max_request: LINE, denials: Denials::default() };
    let serving = tokio::spawn({
        let (pipeline, stop) = (Arc::clone(&pipeline), Arc::clone(&stop));
        let stopped = async move { stop.notified().await };
        async move { serve(pipeline, environment, tokio::io::split(theirs), stopped, bounds).await }
    });
    Talk { pipeline, to: Some(to), from: BufReader::new(from).lines(), stop, serving }
}

impl Talk {
    async fn say(&mut self, line: &str) {
        self.to.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn request(&mut self, id: Value, method: &str, params: Value) {
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()).await;
    }

    async fn hear(&mut self) -> Value {
        let line =
            timeout(Duration::from_secs(5), self.from.next_line()).await.expect("nothing came").unwrap();
        serde_json::from_str(&line.expect("it ended")).unwrap()
    }

    /// Closes standard input.
    async fn close(&mut self) {
        self.to.take().unwrap().shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn requests_run_side_by_side_and_answers_are_whole_lines() {
    let mut talk = talk();
    talk.request(json!(1), "slow", json!({})).await;
    talk.request(json!("two"), "quick", json!({})).await;
    assert_eq!(talk.hear().await, json!({"jsonrpc": "2.0", "id": "two", "result": "quick"}));
    talk.pipeline.go.notify_one();
    assert_eq!(talk.hear().await["id"], 1);
    talk.request(json!(3), "stream", json!({})).await;
    assert_eq!(talk.hear().await, json!({"note": 1}));
    assert_eq!(talk.hear().await["id"], 3);
}

#[tokio::test]
async fn the_process_is_one_session_and_server_messages_are_written() {
    let mut talk = talk();
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    talk.request(json!(0), "initialize", params).await;
    talk.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    talk.request(json!(1), "quick", json!({})).await;
    let mut heard = [talk.hear().await, talk.hear().await, talk.hear().await];
    assert_eq!(heard[0]["id"], 0);
    heard.sort_by_key(|message| message["method"].is_string());
    assert_eq!(heard[2], json!({"method": "own"}));
    let seen = talk.pipeline.seen.lock().clone();
    assert_eq!(seen, ["initialize - the-key", "notifications/initialized s1 the-key", "quick s1 the-key"]);
}

#[tokio::test]
async fn an_invalid_line_gets_an_error_and_the_next_one_is_read() {
    let mut talk = talk();
    for line in ["{", "[]", r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"quick"}"#] {
        talk.say(line).await;
        let error = talk.hear().await;
        assert!([-32700, -32600].contains(&error["error"]["code"].as_i64().unwrap()), "{line}: {error}");
    }
    talk.say(&"x".repeat(LINE + 1)).await;
    assert_eq!(talk.hear().await["error"]["data"]["reason"], "too-large");
    talk.request(json!(9), "denied", json!({})).await;
    let denied = talk.hear().await;
    assert_eq!((denied["id"].clone(), denied["error"]["code"].clone()), (json!(9), json!(401)));
    talk.say(r#"{"jsonrpc":"2.0","method":"denied"}"#).await;
    talk.request(json!(10), "quick", json!({})).await;
    assert_eq!(talk.hear().await["id"], 10, "a refused notification is not answered");
}

#[tokio::test]
async fn a_cancelled_stateless_request_is_dropped() {
    let mut talk = talk();
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    talk.request(json!(1), "slow", json!({"_meta": meta})).await;
    talk.request(json!(2), "quick", json!({})).await;
    assert_eq!(talk.hear().await["id"], 2);
    talk.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await;
    timeout(Duration::from_secs(5), talk.pipeline.dropped.notified()).await.expect("it goes on");
    assert!(!talk.pipeline.seen.lock().iter().any(|seen| seen.starts_with("notifications/cancelled")));
}

#[tokio::test]
async fn running_calls_finish_at_the_end_of_input() {
    let mut talk = talk();
    talk.request(json!(1), "slow", json!({})).await;
    talk.close().await;
    talk.pipeline.go.notify_one();
    assert_eq!(talk.hear().await["result"], "slow");
    talk.serving.await.unwrap();
}

#[tokio::test]
async fn a_stop_signal_ends_the_loop() {
    let mut talk = talk();
    talk.request(json!(1), "quick", json!({})).await;
    assert_eq!(talk.hear().await["id"], 1);
    talk.stop.notify_one();
    talk.serving.await.unwrap();
}
