//! The reader of a child's output. It finds the recipient of each line, in order. One task reads everything, so that
//! no response overtakes a notification.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::time::sleep;

use super::audience::Member;
use super::conversation::{ChildRequest, Conversation, WorkingCallers};
use super::pending_requests::{ChildReply, NoResponse, PendingRequest};
use super::wire::{Incoming, MessageType, cancelled, error_response, result_response};
use witgate_flow::reject::UpstreamFault;
use witgate_message::json::{Members, unquote};
use witgate_message::names;
use witgate_runtime::lines::input::{LineEnds, LineOutcome, LineReader};

/// Maximum number of lines within [`WHILE`] that are not messages. A server may print some output on standard output
/// by mistake, but one that prints without pause would keep a processor busy.
const GARBAGE: u32 = 10_000;
/// Maximum number of them that are logged.
const LOGGED: u32 = 3;
const WHILE: Duration = Duration::from_secs(10);
/// Maximum number of unexpected answers in a row. Some may be late, but a thousand are a flood.
const UNASKED: u32 = 1000;
/// Time for which a caller who does not read may delay the child, if no other caller waits for it.
const STALL: Duration = Duration::from_secs(5);
/// Maximum number of the child's requests that clients have not answered yet.
const ASKED: usize = 128;
/// Maximum number of them for one session of a shared child.
const ASKED_OF_ONE: usize = ASKED / 4;

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
const METHOD_NOT_FOUND: i32 = -32601;
const INTERNAL_ERROR: i32 = -32603;

/// Witgate's ids for the child's requests. No id is used twice, so an answer to a request of a former child answers
/// nothing.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Reads until the child has ended or violates a limit.
pub(super) async fn read(inner: Arc<Conversation>, output: impl AsyncRead + Unpin, max_message: usize) {
    let lines = LineReader::new(output, max_message);
    let mut reader = ChildReader { inner: Arc::clone(&inner), garbage: Garbage::default(), unasked: 0 };
    let (fault, message) = reader.run(lines).await;
    tracing::debug!(upstream = %inner.name, message, "conversation ended");
    inner.end(NoResponse::Fault(fault, message.to_owned()), true);
}

struct ChildReader {
    inner: Arc<Conversation>,
    garbage: Garbage,
    unasked: u32,
}

/// The count of lines that are not messages, which is reset from time to time.
#[derive(Default)]
struct Garbage {
    since: Option<Instant>,
    lines: u32,
}

impl Garbage {
    /// Counts a line. True: it has to be logged.
    fn count(&mut self) -> bool {
        if self.since.is_none_or(|since| since.elapsed() > WHILE) {
            *self = Self { since: Some(Instant::now()), lines: 0 };
        }
        self.lines += 1;
        self.lines <= LOGGED
    }
}

type ChildEnd = (UpstreamFault, &'static str);

impl ChildReader {
    async fn run(&mut self, mut lines: LineReader<impl AsyncRead + Unpin>) -> ChildEnd {
        loop {
            match lines.next().await {
                Ok(LineOutcome::Line(line)) => {
                    self.take(&line).await;
                    if self.garbage.lines > GARBAGE {
                        return (UpstreamFault::BadAnswer, "the upstream does not speak JSON-RPC");
                    }
                    if self.unasked > UNASKED {
                        return (
                            UpstreamFault::Flood,
                            "the upstream sends too many answers that nobody asked for",
                        );
                    }
                }
                Ok(LineOutcome::TooLong(ends)) => self.too_long(&ends),
                Ok(LineOutcome::End) | Err(_) => {
                    return (UpstreamFault::Unreachable, "the upstream ended before it answered");
                }
            }
        }
    }

    async fn take(&mut self, line: &Bytes) {
        let Some(message) = Incoming::read(line) else {
            if self.garbage.count() {
                let bytes = line.len();
                tracing::warn!(upstream = %self.inner.name, bytes, "skipped a line that is no JSON-RPC message");
            }
            return;
        };
        self.inner.lines_read.fetch_add(1, Ordering::Relaxed);
        match &message.what {
            MessageType::Response { result } => self.response(&message, *result).await,
            MessageType::Request { method } => self.request(&message, method).await,
            MessageType::Notification { method, params } => {
                self.notification(&message, line, method, *params).await
            }
        }
    }

    /// A message that is too long fails only the request that it answers.
    fn too_long(&mut self, ends: &LineEnds) {
        if self.garbage.count() {
            tracing::warn!(upstream = %self.inner.name, "skipped a message over 16 MiB");
        }
        self.inner.lines_read.fetch_add(1, Ordering::Relaxed);
        let number = ends.id().and_then(|id| number_of(&id));
        if let Some(pending) = number.and_then(|number| self.inner.table.lock().answered(number)) {
            let message = "the upstream sent a message over 16 MiB".to_owned();
            pending.to.fail(NoResponse::Fault(UpstreamFault::Flood, message));
        }
    }

    /// A response goes to the requester, under the id of the request.
    async fn response(&mut self, message: &Incoming<'_>, result: Option<&str>) {
        let id = message.id().unwrap_or_default();
        let number = number_of(id);
        let pending = number.and_then(|number| self.inner.table.lock().answered(number));
        let Some(pending) = pending else {
            if !number.is_some_and(|number| self.inner.table.lock().answered_late(number)) {
                self.unasked += 1;
            }
            tracing::debug!(upstream = %self.inner.name, "an answer that nobody waits for");
            return;
        };
        self.unasked = 0;
        let mut parts = vec![(id, &*pending.ask.id)];
        if let (true, Some(tag)) = (pending.ask.listen, result.and_then(subscription)) {
            parts.push((tag, &*pending.ask.id));
        }
        if let Err(lost) = self.say(&pending, ChildReply::Last(message.with(&parts).into())).await {
            pending.to.fail(lost);
        }
    }

    /// A request of the child goes to the only session that it can be for, or is answered here.
    async fn request(&mut self, message: &Incoming<'_>, method: &str) {
        let id = message.id().unwrap_or_default();
        if method == "ping" {
            return self.inner.send_now(result_response(id, "{}"));
        }
        let id_for_client = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let line_for_client = message.with(&[(id, &id_for_client.to_string())]);
        let delivered = match self.home(method) {
            Recipient::Request(number, pending, session) => {
                self.note_request(id_for_client, id, session, Some(number))
                    && self.say(&pending, ChildReply::Note(line_for_client.into())).await.is_ok()
            }
            Recipient::Inbox(member) => {
                self.note_request(id_for_client, id, Arc::clone(&member.session), None)
                    && member.inbox.put(line_for_client)
            }
            Recipient::None(why) => {
                return self.inner.send_now(error_response(id, METHOD_NOT_FOUND, why, None));
            }
        };
        if !delivered {
            self.inner.table.lock().child_requests.remove(&id_for_client);
            self.inner.send_now(error_response(id, INTERNAL_ERROR, "the client cannot be asked now", None));
        }
    }

    fn note_request(&self, id_for_client: u64, id: &str, session: Arc<str>, within: Option<u64>) -> bool {
        let mut table = self.inner.table.lock();
        let of_one = table.child_requests.values().filter(|request| request.session == session).count();
        if table.child_requests.len() >= ASKED || (self.inner.common && of_one >= ASKED_OF_ONE) {
            return false;
        }
        table.child_requests.insert(id_for_client, ChildRequest { session, id: id.into(), within });
        true
    }

    /// The recipient of a request of the child. The request does not name one. So it goes to the caller whose requests
    /// the child may be working on, if there is only one; otherwise one caller's data could reach another. If the
    /// child has only one session, it goes to that one.
    fn home(&self, method: &str) -> Recipient {
        let mut ones = match self.inner.table.lock().at_work() {
            WorkingCallers::Ones(ones) => ones,
            WorkingCallers::Nobodys => Vec::new(),
            WorkingCallers::Several => {
                return Recipient::None(
                    "several clients share this server, so it is not clear which one to ask",
                );
            }
        };
        ones.retain(|(_, pending)| pending.ask.session.is_some());
        let within = ones.pop();
        let member = match &within {
            Some((_, pending)) => {
                pending.ask.session.as_deref().and_then(|session| self.inner.audience.member(session))
            }
            None => self.only_member(),
        };
        match (member, within) {
            (Some(member), _) if !member.can(method) => {
                Recipient::None("the client has not declared that it can do this")
            }
            (Some(member), Some((number, pending))) => {
                Recipient::Request(number, pending, Arc::clone(&member.session))
            }
            (Some(member), None) => Recipient::Inbox(member),
            (None, _) => Recipient::None("there is no client to ask"),
        }
    }

    /// The session of the child, unless it is shared.
    fn only_member(&self) -> Option<Arc<Member>> {
        if self.inner.common { None } else { self.inner.audience.only() }
    }

    async fn notification(
        &mut self,
        message: &Incoming<'_>,
        line: &Bytes,
        method: &str,
        params: Option<&str>,
    ) {
        let params = params.and_then(Members::read).unwrap_or_default();
        match method {
            "notifications/progress" => self.progress(message, &params).await,
            "notifications/cancelled" => self.cancelled(message, &params).await,
            "notifications/message" => self.log(line).await,
            _ => match params.came("_meta").and_then(tagged) {
                Some(tag) => self.tagged(message, tag).await,
                None => self.announce(line, method, &params),
            },
        }
    }

    /// Progress goes to the request with this token, under the caller's own token.
    async fn progress(&mut self, message: &Incoming<'_>, params: &Members<'_>) {
        let Some(token) = params.came("progressToken") else { return };
        let Some((number, pending)) = self.numbered(token) else { return };
        if let Some(own) = &pending.ask.token {
            self.note(number, &pending, message.with(&[(token, own)])).await;
        }
    }

    /// The child withdraws its own request, or ends a subscription (2026-07-28, stdio).
    async fn cancelled(&mut self, message: &Incoming<'_>, params: &Members<'_>) {
        let Some(id) = params.came("requestId") else { return };
        if let Some((number, pending)) = self.numbered(id).filter(|(_, pending)| pending.ask.listen) {
            return self.end_subscription(number, &pending).await;
        }
        let found = {
            let mut table = self.inner.table.lock();
            let id_for_client = table
                .child_requests
                .iter()
                .find(|(_, request)| *request.id == *id)
                .map(|(id_for_client, _)| *id_for_client);
            id_for_client
                .and_then(|id_for_client| Some((id_for_client, table.child_requests.remove(&id_for_client)?)))
        };
        let Some((id_for_client, request)) = found else { return };
        let line = message.with(&[(id, &id_for_client.to_string())]);
        let within = request.within.and_then(|number| self.numbered(&number.to_string()));
        match (within, self.inner.audience.member(&request.session)) {
            (Some((number, pending)), _) => self.note(number, &pending, line).await,
            (None, Some(member)) => _ = member.inbox.put(line),
            (None, None) => {}
        }
    }

    /// For the caller this is the regular end: the response of `subscriptions/listen`.
    async fn end_subscription(&self, number: u64, pending: &PendingRequest) {
        self.inner.table.lock().answered(number);
        let id = &pending.ask.id;
        let result = format!(r#"{{"resultType":"complete","_meta":{{"{SUBSCRIPTION}":{id}}}}}"#);
        let _ = self.say(pending, ChildReply::Last(result_response(id, &result).into())).await;
    }

    /// A log message names no request. It goes to the running request, so that it comes before the result, or else to
    /// the GET stream. If several callers are possible, nobody gets it.
    async fn log(&mut self, line: &Bytes) {
        let at_work = self.inner.table.lock().at_work();
        let latest = match at_work {
            WorkingCallers::Ones(mut ones) => ones.pop(),
            WorkingCallers::Nobodys => None,
            WorkingCallers::Several => return,
        };
        match latest {
            Some((number, pending)) if pending.ask.logs => self.note(number, &pending, apart(line)).await,
            Some(_) => {}
            None => {
                if let Some(member) = self.only_member() {
                    let _ = member.inbox.put(apart(line));
                }
            }
        }
    }

    /// A notification of a subscription goes to its stream, tagged with the caller's id.
    async fn tagged(&mut self, message: &Incoming<'_>, tag: &str) {
        let Some((number, pending)) = self.numbered(tag) else { return };
        if pending.ask.listen {
            self.note(number, &pending, message.with(&[(tag, &pending.ask.id)])).await;
        }
    }

    /// Sends notifications: those about the child itself go to every session's GET stream, those about a
    /// resource to the sessions that have subscribed.
    fn announce(&self, line: &Bytes, method: &str, params: &Members<'_>) {
        let members = self.inner.audience.all();
        let line = &apart(line);
        // The name of a resource that no message could use is ignored.
        let uri = params.get("uri").and_then(unquote).filter(|uri| names::check_uri(uri).is_ok());
        let alone = self.only_member().is_some();
        for member in members {
            let wanted = match (method, &uri) {
                ("notifications/resources/updated", Some(uri)) => alone || member.subscribes(uri),
                ("notifications/resources/updated", None) => false,
                (method, _) => alone || method.ends_with("/list_changed"),
            };
            if wanted && !member.inbox.put(line.clone()) {
                tracing::debug!(upstream = %self.inner.name, method, "the session's stream is full; dropped");
            }
        }
    }

    fn numbered(&self, text: &str) -> Option<(u64, PendingRequest)> {
        let number = number_of(text)?;
        let pending = self.inner.table.lock().get(number).cloned()?;
        Some((number, pending))
    }

    /// Sends a message to a request. A request whose caller delays others is given up.
    async fn note(&self, number: u64, pending: &PendingRequest, line: Bytes) {
        let Err(lost) = self.say(pending, ChildReply::Note(line.into())).await else { return };
        if pending.to.is_deserted() {
            return;
        }
        self.inner.forget(number, lost);
        self.inner.send_now(cancelled(&number.to_string(), "the client does not read"));
    }

    /// Sends a message to a request, as soon as its caller has room for it, and if there is memory for it at once. As
    /// soon as another caller also waits for the child, the reader waits for nobody, and drops a message without room.
    /// So callers who do not read cannot delay others.
    async fn say(&self, to: &PendingRequest, reply: ChildReply) -> Result<(), NoResponse> {
        let reply = reply.held_for(&to.ask)?;
        let room = tokio::select! {
            biased;
            room = to.to.room_for(&reply) => room,
            () = self.inner.until_others_wait(&to.ask) => to.to.any_room_for(&reply),
            () = sleep(STALL) => None,
        };
        let is_said = room.is_some_and(|room| to.to.say(reply, room));
        if is_said { Ok(()) } else { Err(not_read()) }
    }
}

/// The number of a request, from JSON text. Some servers return it as a text, which the clients of both SDKs accept.
fn number_of(id: &str) -> Option<u64> {
    let text = unquote(id);
    let digits = text.as_deref().unwrap_or(id);
    digits.parse().ok().filter(|number: &u64| number.to_string() == digits)
}

/// A copy of a line, which does not keep the buffer of other lines.
fn apart(line: &Bytes) -> Bytes {
    Bytes::copy_from_slice(line)
}

fn not_read() -> NoResponse {
    NoResponse::Fault(
        UpstreamFault::Flood,
        "the client read too slowly; the request was cancelled".to_owned(),
    )
}

enum Recipient {
    Request(u64, PendingRequest, Arc<str>),
    Inbox(Arc<Member>),
    None(&'static str),
}

/// The subscription id in a response's `result`, as JSON text.
fn subscription(result: &str) -> Option<&str> {
    tagged(Members::read(result)?.came("_meta")?)
}

/// The subscription id in a `_meta`.
fn tagged(meta: &str) -> Option<&str> {
    Members::read(meta)?.came(SUBSCRIPTION)
}
