//! One conversation with a child. Callers' ids and progress tokens are replaced by Witgate's own,
//! so that several callers can share a child and none can answer or cancel for another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::audience::Audience;
use super::pending::{Ask, Ear, Lost, Pending, Reply, Spares, Whose, replies};
use super::pipes::Pipes;
use super::process::Process;
use super::reading;
use super::wire::cancelled;
use crate::flow::call::LONGEST_ID;
use crate::flow::message::json::splice;
use crate::flow::reject::{Rejection, UpstreamFault};
use crate::lines::input::one_line;
use crate::shares::{Bounds, Holdings};

/// Lines on their way to the child. When it does not read, callers wait here.
const LINES: usize = 32;
/// Their bytes, and those of the line that is being written; one line may have more. A caller who waits for room holds what
/// they sent within the bounds of all requests, and one who has gone leaves no more than this behind.
const ROOM: usize = 4 << 20;
/// Requests that a child has yet to answer. Beyond, it does not keep up, and more would only wait.
const PENDING: usize = 512;
/// Those of one party, for a shared child.
const PENDING_OF_ONE: usize = PENDING / 4;
/// Requests that were given up and that the child may still be at. Who has lost track of them asks nobody.
const STRAYS: usize = 1024;
/// Seconds until there may be room for a request again.
const RETRY_S: u32 = 1;
/// A child that is alive answers a ping within this, whatever else it does.
const PULSE: Duration = Duration::from_secs(3);
/// Time that people may take to answer a question that a server asks in the middle of a call.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30 * 60);

/// A conversation. Cheap to clone; it lives until it is ended or the child ends it.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) name: Arc<str>,
    pub(super) table: Mutex<Table>,
    pub(super) audience: Arc<Audience>,
    /// Lines that the child has said.
    pub(super) heard: AtomicU64,
    /// A request has come.
    came: Notify,
    out: Mutex<Option<Out>>,
    ended: watch::Sender<Option<Lost>>,
    process: Option<Process>,
    /// True if several callers may be on it.
    pub(super) common: bool,
    pub(crate) began: Instant,
    /// The request that tests whether the child is alive: `ping` is gone in 2026-07-28.
    pulse: &'static str,
}

/// The open requests.
#[derive(Default)]
pub(super) struct Table {
    next: u64,
    pending: BTreeMap<u64, Pending>,
    /// The number of open requests of each party.
    held: Holdings,
    spares: Spares,
    /// Requests without an answer that nobody waits for any more: the child may still be at them.
    strays: BTreeMap<u64, Whose>,
    lost_track: bool,
    /// True if several callers may be on it.
    common: bool,
    /// Requests of the child's that a session has yet to answer, by the id that it was told.
    pub(super) asked: BTreeMap<u64, Asked>,
}

/// A request of the child's.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) session: Arc<str>,
    /// The child's own id, as JSON text.
    pub(super) id: Box<str>,
    /// The request that it belongs to.
    pub(super) within: Option<u64>,
}

/// The callers whose requests the child may be working on, as far as these can make it ask or tell something.
pub(super) enum AtWork {
    /// Nobody's.
    Nobodys,
    /// Those of one caller.
    Ones(Vec<(u64, Pending)>),
    /// Those of several, so that what belongs to which cannot be told.
    Several,
}

impl Table {
    fn insert(&mut self, pending: Pending) -> u64 {
        self.next += 1;
        self.held.add(&pending.ask.party, 1);
        self.pending.insert(self.next, pending);
        self.next
    }

    fn remove(&mut self, number: u64) -> Option<Pending> {
        self.asked.retain(|_, asked| asked.within != Some(number));
        let pending = self.pending.remove(&number)?;
        self.held.remove(&pending.ask.party, 1);
        Some(pending)
    }

    /// Takes out a request that the child has answered. None: there is none of this number.
    pub(super) fn answered(&mut self, number: u64) -> Option<Pending> {
        let pending = self.remove(number)?;
        if pending.ask.starts_task {
            // What it has begun goes on, and says no more whose it is.
            self.note_stray(number, &pending);
        }
        Some(pending)
    }

    /// Takes out a request that the child has not answered.
    fn give_up(&mut self, number: u64) -> Option<Pending> {
        let pending = self.remove(number)?;
        self.note_stray(number, &pending);
        Some(pending)
    }

    fn note_stray(&mut self, number: u64, pending: &Pending) {
        let Some(whose) = pending.ask.whose.clone() else { return };
        if !self.common || pending.ask.listen {
            return;
        }
        if self.strays.len() >= STRAYS {
            self.lost_track = true;
            return;
        }
        self.strays.insert(number, whose);
    }

    /// Notes that the child has answered what was given up. False: there is nothing of this number.
    pub(super) fn answered_late(&mut self, number: u64) -> bool {
        self.strays.remove(&number).is_some()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Pending> {
        self.pending.get(&number)
    }

    /// True where anybody waits for the child but the one who has asked `ask`.
    fn others_wait(&self, ask: &Ask) -> bool {
        let is_anothers = |other: &Ask| other.whose != ask.whose || other.party != ask.party;
        self.pending.values().any(|pending| is_anothers(&pending.ask) && !pending.to.is_deserted())
    }

    /// The callers whose requests the child may be working on. Requests count on after their caller has gone
    /// away.
    pub(super) fn at_work(&self) -> AtWork {
        let mut calls = self.pending.iter().filter(|(_, pending)| !pending.ask.listen);
        let whose = calls.clone().filter_map(|(_, pending)| pending.ask.whose.as_ref());
        let mut whose = whose.chain(self.strays.values());
        let Some(first) = whose.next() else {
            return if self.lost_track { AtWork::Several } else { AtWork::Nobodys };
        };
        if self.lost_track || whose.any(|other| other != first) {
            return AtWork::Several;
        }
        let is_ones = |pending: &Pending| pending.ask.whose.is_some() && !pending.to.is_deserted();
        let ones = calls.by_ref().filter(|(_, pending)| is_ones(pending));
        AtWork::Ones(ones.map(|(number, pending)| (*number, pending.clone())).collect())
    }
}

/// The terms of a conversation.
pub(crate) struct Terms {
    pub(crate) name: Arc<str>,
    pub(crate) audience: Arc<Audience>,
    /// True if the child is spoken to in the stateless manner of 2026-07-28.
    pub(crate) modern: bool,
    /// True if the child may work on requests of several callers.
    pub(crate) common: bool,
    /// The largest line that is a message, in bytes.
    pub(crate) max_message: usize,
}

impl Connection {
    /// Begins a conversation.
    pub(crate) fn begin(pipes: Pipes, terms: Terms) -> Self {
        let (queue, lines) = mpsc::channel(LINES);
        let out = Out { queue, room: Arc::new(Semaphore::new(ROOM)) };
        let pulse = if terms.modern { MODERN_PULSE } else { r#""method":"ping""# };
        let inner = Arc::new(Inner {
            name: terms.name,
            table: Mutex::new(Table { common: terms.common, ..Table::default() }),
            audience: terms.audience,
            heard: AtomicU64::new(0),
            came: Notify::new(),
            out: Mutex::new(Some(out)),
            ended: watch::Sender::new(None),
            process: pipes.process,
            common: terms.common,
            began: Instant::now(),
            pulse,
        });
        tokio::spawn(write(Arc::clone(&inner), pipes.input, lines));
        tokio::spawn(reading::read(Arc::clone(&inner), pipes.output, terms.max_message));
        Self { inner }
    }

    /// Sends a request; `compose` writes it with Witgate's id, which is the progress token, too.
    pub(crate) async fn request(
        &self,
        ask: Ask,
        compose: impl FnOnce(&str) -> Bytes,
    ) -> Result<Exchange, Rejection> {
        let (mouth, ear) = replies(self.inner.table.lock().spares.of(&ask.party));
        let ask = Arc::new(ask);
        let number = self.inner.admit(Pending { ask: Arc::clone(&ask), to: mouth })?;
        let mut exchange = Exchange {
            inner: Arc::clone(&self.inner),
            ask,
            number,
            ear,
            heard_before: self.inner.heard.load(Ordering::Relaxed),
            is_sent: false,
            done: false,
        };
        self.inner.send_for(Some(number), compose(&number.to_string())).await?;
        exchange.is_sent = true;
        Ok(exchange)
    }

    /// Sends a line that wants no answer.
    pub(crate) async fn tell(&self, line: Bytes) -> Result<(), Rejection> {
        self.inner.send(line).await
    }

    /// True if a request of the child's waits for an answer of this session.
    pub(crate) fn waits_for(&self, session: &str) -> bool {
        self.inner.table.lock().asked.values().any(|asked| &*asked.session == session)
    }

    /// Passes on a client's answer to a request of the child's.
    pub(crate) async fn answer(
        &self,
        session: &str,
        body: &Bytes,
        id: std::ops::Range<usize>,
    ) -> Result<(), Rejection> {
        let told = body.get(id.clone()).and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
        let asked = told.and_then(|told| self.inner.take_asked(session, told));
        let asked =
            asked.ok_or_else(|| Rejection::InvalidRequest("it answers no open request".to_owned()))?;
        self.inner.send(splice(body, &mut [(id, &asked.id)])).await
    }

    /// Passes on `notifications/cancelled` of who has asked; `id` is the caller's, as JSON text.
    /// One that names nothing of the caller's is dropped.
    pub(crate) async fn cancel(&self, whose: &Ask, id: &str, reason: &str) -> Result<(), Rejection> {
        let Some(number) = self.inner.find(whose, id) else { return Ok(()) };
        self.inner.forget(number, Lost::Cancelled);
        self.inner.send(cancelled(&number.to_string(), reason)).await
    }

    /// The reason for its end, if it has ended.
    pub(crate) fn ended(&self) -> Option<Lost> {
        self.inner.ended.borrow().clone()
    }

    /// The number of requests without an answer.
    #[cfg(test)]
    pub(crate) fn open_requests(&self) -> usize {
        self.inner.table.lock().pending.len()
    }

    /// Waits until it has ended.
    #[cfg(test)]
    pub(crate) async fn until_ended(&self) {
        let _ = self.inner.ended.subscribe().wait_for(Option::is_some).await;
    }

    /// The number of open requests, subscriptions aside.
    pub(crate) fn running(&self) -> usize {
        self.inner.table.lock().pending.values().filter(|p| !p.ask.listen && !p.to.is_deserted()).count()
    }

    /// True if nobody waits for anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.inner.table.lock().pending.values().all(|pending| pending.to.is_deserted())
    }

    /// Closes the child's standard input, on which it ends, by force if need be. That goes on by itself.
    pub(crate) fn end(&self) {
        self.inner.end(Lost::Fault(UpstreamFault::Unreachable, "the upstream was stopped".to_owned()), false);
        if let Some(process) = &self.inner.process {
            process.end();
        }
    }
}

const MODERN_PULSE: &str = concat!(
    r#""method":"server/discover","params":{"_meta":{"#,
    r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
    r#""io.modelcontextprotocol/clientCapabilities":{}}}"#
);

impl Inner {
    /// Takes a request in, unless the conversation has ended or too much is open.
    fn admit(&self, pending: Pending) -> Result<u64, Rejection> {
        if let Some(lost) = self.ended.borrow().clone() {
            return Err(lost.into());
        }
        let bounds =
            Bounds { most: PENDING, most_of_one: if self.common { PENDING_OF_ONE } else { PENDING } };
        let party = pending.ask.party.clone();
        let mut table = self.table.lock();
        if !table.held.have_room(&party, 1, bounds) {
            self.give_up_deserted(&mut table);
        }
        if !table.held.have_room(&party, 1, bounds) {
            return Err(Rejection::Full { what: "open requests", retry_after: RETRY_S });
        }
        let number = table.insert(pending);
        drop(table);
        self.came.notify_waiters();
        Ok(number)
    }

    /// Waits until anybody waits for the child but the one who has asked `ask`.
    pub(super) async fn until_others_wait(&self, ask: &Ask) {
        loop {
            // Before looking, so that nobody comes unseen.
            let mut came = std::pin::pin!(self.came.notified());
            came.as_mut().enable();
            if self.table.lock().others_wait(ask) {
                return;
            }
            came.await;
        }
    }

    /// Takes out the requests that nobody waits for any more, and tells the child.
    fn give_up_deserted(&self, table: &mut Table) {
        let deserted = table.pending.iter().filter(|(_, pending)| pending.to.is_deserted());
        let deserted: Vec<u64> = deserted.map(|(number, _)| *number).collect();
        for number in deserted {
            table.give_up(number);
            self.send_now(cancelled(&number.to_string(), "the client went away"));
        }
    }

    fn find(&self, whose: &Ask, id: &str) -> Option<u64> {
        let table = self.table.lock();
        let mine = |ask: &Ask| ask.session == whose.session && ask.whose == whose.whose;
        let id = SameId::of(id);
        table.pending.iter().find(|(_, p)| mine(&p.ask) && id.is(&p.ask.id)).map(|(number, _)| *number)
    }

    /// Takes a request out; who waits for it hears `lost`.
    pub(super) fn forget(&self, number: u64, lost: Lost) -> bool {
        let removed = self.table.lock().give_up(number);
        if let Some(pending) = &removed {
            pending.to.lose(lost);
        }
        removed.is_some()
    }

    /// Takes a request out that the child has never heard of.
    fn forget_unsent(&self, number: u64) {
        self.forget(number, Lost::Cancelled);
        self.table.lock().strays.remove(&number);
    }

    fn take_asked(&self, session: &str, told: u64) -> Option<Asked> {
        let mut table = self.table.lock();
        let asked = table.asked.get(&told).filter(|asked| &*asked.session == session)?;
        tracing::trace!(upstream = %self.name, within = asked.within, "a client has answered");
        table.asked.remove(&told)
    }

    /// True if a request of the child's within the request `number` waits for its answer.
    fn waits_for_client(&self, number: u64) -> bool {
        self.table.lock().asked.values().any(|asked| asked.within == Some(number))
    }

    async fn send(&self, line: Bytes) -> Result<(), Rejection> {
        self.send_for(None, line).await
    }

    /// Sends a line that has a meaning only as long as somebody waits for the answer to the request `number`.
    async fn send_for(&self, number: Option<u64>, line: Bytes) -> Result<(), Rejection> {
        let out = self.out.lock().clone();
        let sent = match out {
            Some(out) => out.send(number, one_line(line)).await,
            None => None,
        };
        sent.ok_or_else(|| self.ended.borrow().clone().map_or_else(gone, Rejection::from))
    }

    /// True if a line is still to be written. A request that was given up before it was written never reaches
    /// the child.
    fn is_wanted(&self, number: Option<u64>) -> bool {
        let Some(number) = number else { return true };
        let mut table = self.table.lock();
        let is_wanted = table.pending.contains_key(&number);
        if !is_wanted {
            table.strays.remove(&number);
        }
        is_wanted
    }

    /// Sends a line if the child takes it at once. For the reading side: were it to wait here for a
    /// child that waits to be read, both would wait for ever.
    pub(super) fn send_now(&self, line: Bytes) {
        let out = self.out.lock().clone();
        if out.and_then(|out| out.send_now(one_line(line))).is_none() {
            tracing::debug!(upstream = %self.name, "the child does not read; an answer was dropped");
        }
    }

    /// Ends the conversation: everyone who waits hears why.
    pub(super) fn end(&self, lost: Lost, kill: bool) {
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(lost.clone());
            }
            first
        });
        self.out.lock().take();
        let pending = {
            let mut table = self.table.lock();
            table.asked.clear();
            table.held = Holdings::default();
            std::mem::take(&mut table.pending)
        };
        for pending in pending.into_values() {
            pending.to.lose(lost.clone());
        }
        if let (true, Some(process)) = (kill, &self.process) {
            process.kill();
        }
    }

    /// Asks a child that has kept silent for a sign of life; without one it is killed.
    async fn feel_pulse(self: Arc<Self>) {
        let connection = Connection { inner: Arc::clone(&self) };
        let heard = self.heard.load(Ordering::Relaxed);
        let asked = async {
            let mut exchange = connection
                .request(Ask::default(), |id| {
                    format!(r#"{{"jsonrpc":"2.0","id":{id},{}}}"#, self.pulse).into()
                })
                .await?;
            exchange.ear.hear().await.map_err(Rejection::from)
        };
        let _ = timeout(PULSE, asked).await;
        if self.heard.load(Ordering::Relaxed) == heard && self.ended.borrow().is_none() {
            tracing::warn!(upstream = %self.name, "the child hangs; it is killed");
            self.end(
                Lost::Fault(UpstreamFault::Timeout, "the upstream hangs and was restarted".to_owned()),
                true,
            );
        }
    }
}

/// A request and what is heard of it. Dropped before the response, it cancels or not, as the era
/// wants it.
pub(crate) struct Exchange {
    inner: Arc<Inner>,
    ask: Arc<Ask>,
    number: u64,
    ear: Ear,
    heard_before: u64,
    /// It is on its way to the child.
    is_sent: bool,
    done: bool,
}

impl Exchange {
    /// The next thing that is said to the request.
    ///
    /// # Errors
    /// Why there will be no response; a request that waits longer than `patience` is cancelled.
    /// While the client itself is being asked something, people take their time, and another
    /// limit runs.
    pub(crate) async fn next(&mut self, patience: Option<Duration>) -> Result<Reply, Lost> {
        let began = Instant::now();
        let heard = loop {
            let Some(patience) = patience else { break self.ear.hear().await };
            match timeout(patience, self.ear.hear()).await {
                Ok(heard) => break heard,
                Err(_) if began.elapsed() < CLIENT_PATIENCE && self.inner.waits_for_client(self.number) => {}
                Err(_) => break Err(self.give_up()),
            }
        };
        self.done = !matches!(heard, Ok(Reply::Note(_)));
        heard
    }

    fn give_up(&self) -> Lost {
        let lost = Lost::Fault(UpstreamFault::Timeout, "the upstream did not answer in time".to_owned());
        self.inner.forget(self.number, lost.clone());
        self.inner.send_now(cancelled(&self.number.to_string(), "timed out"));
        if self.inner.heard.load(Ordering::Relaxed) == self.heard_before {
            tokio::spawn(Arc::clone(&self.inner).feel_pulse());
        }
        lost
    }

    /// The caller's id, as JSON text.
    pub(crate) fn id(&self) -> &str {
        &self.ask.id
    }

    /// True if it is a subscription.
    pub(crate) fn listens(&self) -> bool {
        self.ask.listen
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_sent {
            self.inner.forget_unsent(self.number);
            return;
        }
        if self.done || !self.ask.cancel_on_drop || !self.inner.forget(self.number, Lost::Cancelled) {
            return;
        }
        self.inner.send_now(cancelled(&self.number.to_string(), "the client went away"));
    }
}

/// The way to the child.
#[derive(Clone)]
struct Out {
    queue: mpsc::Sender<Line>,
    room: Arc<Semaphore>,
}

/// A line on its way to the child.
struct Line {
    /// The request that it is.
    number: Option<u64>,
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl Out {
    /// Sends a line as soon as there is room. None: the conversation has ended.
    async fn send(self, number: Option<u64>, bytes: Bytes) -> Option<()> {
        let _room = self.room.acquire_many_owned(room_for(&bytes)).await.ok()?;
        self.queue.send(Line { number, bytes, _room }).await.ok()
    }

    /// Sends a line if there is room. None: there is none.
    fn send_now(self, bytes: Bytes) -> Option<()> {
        let _room = self.room.try_acquire_many_owned(room_for(&bytes)).ok()?;
        self.queue.try_send(Line { number: None, bytes, _room }).ok()
    }
}

fn room_for(bytes: &Bytes) -> u32 {
    u32::try_from(bytes.len().min(ROOM)).unwrap_or(u32::MAX)
}

/// Writes whole lines, in order, until the conversation ends; then standard input is closed.
async fn write(
    inner: Arc<Inner>,
    mut input: Box<dyn AsyncWrite + Send + Unpin>,
    mut lines: mpsc::Receiver<Line>,
) {
    let mut ended = inner.ended.subscribe();
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            _ = ended.wait_for(Option::is_some) => None,
        };
        let Some(Line { number, bytes, _room }) = line else { break };
        if !inner.is_wanted(number) {
            continue;
        }
        let written = async {
            input.write_all(&bytes).await?;
            input.write_all(b"\n").await?;
            input.flush().await
        };
        tokio::select! {
            written = written => if written.is_err() { break },
            _ = ended.wait_for(Option::is_some) => break,
        }
    }
    let _ = input.shutdown().await;
}

/// An id as JSON text, to be compared with others: escapes do not matter, the type does.
struct SameId<'a> {
    text: &'a str,
    value: Option<serde_json::Value>,
}

impl<'a> SameId<'a> {
    fn of(text: &'a str) -> Self {
        // A longer one is nobody's, and would be read only to be compared with all.
        let value = Some(text).filter(|text| text.len() <= LONGEST_ID);
        Self { text, value: value.and_then(|text| serde_json::from_str(text).ok()) }
    }

    fn is(&self, other: &str) -> bool {
        let read = || serde_json::from_str::<serde_json::Value>(other).ok();
        self.text == other || (self.value.is_some() && self.value == read())
    }
}

/// A rejection for what an upstream has failed to do.
pub(crate) fn fault(fault: UpstreamFault, message: &str) -> Rejection {
    Rejection::Upstream { fault, message: message.to_owned() }
}

fn gone() -> Rejection {
    fault(UpstreamFault::Unreachable, "the upstream has ended")
}

impl From<Lost> for Rejection {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Cancelled => Self::InvalidRequest("the request was cancelled".to_owned()),
            Lost::Fault(fault, message) => Self::Upstream { fault, message },
        }
    }
}
