//! Messages to one upstream, and to all of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::timeout;
use witgate_flow::Reply;
use witgate_flow::port::Upstream;
use witgate_flow::reject::{RejectedMessage, Rejection, UpstreamFault};
use witgate_plugin::Transport;

use super::{CombinedFlow, ReadMessage, absent};
use crate::events::RequestIds;
use crate::handshake::OpenedUpstream;
use crate::joint_session::{Joining, JointSession};
use crate::message::ClientMessage;
use crate::part::{PartAnswer, bad_answer};

/// The end of a handshake.
const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// Time for an upstream to report that its server is too slow.
const MARGIN: Duration = Duration::from_secs(5);

/// The answers of several upstreams, by their places.
pub(super) type PartAnswers = Vec<(usize, Result<PartAnswer, RejectedMessage>)>;

impl<U: Upstream + 'static> CombinedFlow<U> {
    /// Sends `body` to an upstream, in its part of the client's session.
    pub(super) async fn ask(
        &self,
        read: &ReadMessage,
        place: usize,
        body: Bytes,
        name: Option<&str>,
    ) -> Result<Reply, RejectedMessage> {
        let session = match &read.session {
            Some(session) => self.joined(&read.message, session, place).await?,
            None => None,
        };
        let arrival = read.message.part(session.as_deref(), body, name);
        let siblings = Some(Arc::clone(&read.message.siblings));
        self.member(place)?.flow.handle_among(siblings, arrival).await
    }

    /// The session of an upstream in that of the client. An upstream that was not there at the handshake gets its
    /// handshake now.
    pub(super) async fn joined(
        &self,
        message: &ClientMessage,
        session: &JointSession,
        place: usize,
    ) -> Result<Option<Box<str>>, RejectedMessage> {
        match session.at(place) {
            Joining::Joined(own) => return Ok(own),
            Joining::Ended => return Err(self.refusal(message, Rejection::SessionNotFound).await),
            Joining::Absent => {}
        }
        let Some(handshake) = session.handshake().cloned() else {
            return Err(self.refusal(message, Rejection::SessionNotFound).await);
        };
        let (own, _) = self.shake_hands(message, place, handshake, &session.version).await?;
        let end =
            message.of_handshake(own.as_deref(), Some(&session.version), Bytes::from_static(INITIALIZED));
        let siblings = Some(Arc::clone(&message.siblings));
        if let Err(rejected) = self.member(place)?.flow.handle_among(siblings, end).await {
            self.leave(message, place, own).await;
            return Err(rejected);
        }
        if session.join(place, own.clone()) {
            return Ok(own);
        }
        // Another message was faster.
        self.leave(message, place, own).await;
        match session.at(place) {
            Joining::Joined(own) => Ok(own),
            Joining::Absent | Joining::Ended => Err(Rejection::SessionNotFound.into()),
        }
    }

    /// Makes the handshake with an upstream that has to speak `version`. Returns the upstream's session.
    pub(super) async fn shake_hands(
        &self,
        message: &ClientMessage,
        place: usize,
        handshake: Bytes,
        version: &str,
    ) -> Result<(Option<Box<str>>, OpenedUpstream), RejectedMessage> {
        let arrival = message.of_handshake(None, None, handshake);
        let answer = self.whole(message, place, arrival).await?;
        let opened = answer.result().and_then(|result| OpenedUpstream::read(place, result));
        match opened.filter(|opened| opened.version() == version) {
            Some(opened) => Ok((answer.session, opened)),
            None => {
                self.leave(message, place, answer.session).await;
                Err(bad_answer("does not speak the protocol version of this session").into())
            }
        }
    }

    /// Ends a session at an upstream.
    pub(super) async fn leave(&self, message: &ClientMessage, place: usize, session: Option<Box<str>>) {
        if let (Some(session), Ok(member)) = (session, self.member(place)) {
            let arrival = message.about(Some(&session), None);
            let ended = member.flow.close_among(Some(Arc::clone(&message.siblings)), arrival).await;
            if let Err(RejectedMessage { rejection, .. }) = ended {
                tracing::debug!(?rejection, upstream = self.plan.upstream(place), "a session was not ended");
            }
        }
    }

    /// Sends a message to an upstream, and reads its answer as a whole.
    async fn whole(
        &self,
        message: &ClientMessage,
        place: usize,
        arrival: witgate_flow::Arrival,
    ) -> Result<PartAnswer, RejectedMessage> {
        let member = self.member(place)?;
        let siblings = Some(Arc::clone(&message.siblings));
        let reading =
            async { Ok(PartAnswer::read(member.flow.handle_among(siblings, arrival).await?).await?) };
        match timeout(member.timeout + MARGIN, reading).await {
            Ok(answer) => answer,
            Err(_) => Err(late().into()),
        }
    }

    /// As [`Self::ask`], and reads the answer as a whole.
    async fn ask_whole(
        &self,
        read: &ReadMessage,
        place: usize,
        body: Bytes,
    ) -> Result<PartAnswer, RejectedMessage> {
        let limit = self.member(place)?.timeout + MARGIN;
        let reading = async { Ok(PartAnswer::read(self.ask(read, place, body, None).await?).await?) };
        match timeout(limit, reading).await {
            Ok(answer) => answer,
            Err(_) => Err(late().into()),
        }
    }

    /// Asks several upstreams, each with its own message. Over HTTP, the first one shows whether the caller is authenticated:
    /// so a wrong credential counts as one failure.
    ///
    /// # Errors
    /// If the caller is not authenticated; if none of the upstreams is there.
    pub(super) async fn ask_several(
        &self,
        read: &ReadMessage,
        parts: Vec<(usize, Bytes)>,
    ) -> Result<PartAnswers, RejectedMessage> {
        let (parts, missing): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|(place, _)| self.member(*place).is_ok());
        let missing =
            missing.into_iter().filter_map(|(place, _)| Some((place, Err(self.member(place).err()?.into()))));
        let mut answers: PartAnswers = missing.collect();
        let asked = |(place, body)| async move { (place, self.ask_whole(read, place, body).await) };
        if parts.is_empty() {
            return Err(self.refusal(&read.message, absent()).await);
        }
        let mut parts = parts.into_iter();
        // Over stdio, nobody guesses the credential, and servers start at the same time.
        if read.message.arrival().transport == Transport::Http {
            let Some(first) = parts.next() else { return Ok(answers) };
            answers.push(asked(first).await);
            self.is_authenticated(read, &answers).map_err(|rejected| *rejected)?;
        }
        answers.extend(join_all(parts.map(asked)).await);
        self.is_authenticated(read, &answers).map_err(|rejected| *rejected)?;
        answers.sort_by_key(|(place, _)| *place);
        answers.iter().for_each(|(place, answer)| self.tell(*place, answer));
        Ok(answers)
    }

    /// Returns a rejection if no upstream has authenticated the caller.
    fn is_authenticated(
        &self,
        read: &ReadMessage,
        answers: &PartAnswers,
    ) -> Result<(), Box<RejectedMessage>> {
        // Those that are not served come first, and have authenticated nobody.
        let rejected = answers.iter().rev().find_map(|(_, answer)| answer.as_ref().err());
        match (rejected, read.message.siblings.caller()) {
            (Some(rejected), None) => Err(Box::new(rejected.clone())),
            _ => Ok(()),
        }
    }

    /// Logs that an upstream does not answer, once until it does.
    fn tell(&self, place: usize, answer: &Result<PartAnswer, RejectedMessage>) {
        let Some(told) = self.told.get(place) else { return };
        let (endpoint, upstream) = (&*self.name, self.plan.upstream(place));
        match answer {
            Ok(_) => told.store(false, Ordering::Relaxed),
            Err(RejectedMessage { rejection: Rejection::Upstream { fault, .. }, .. }) => {
                if !told.swap(true, Ordering::Relaxed) {
                    let reason = fault.reason();
                    tracing::warn!(
                        endpoint,
                        upstream,
                        reason,
                        "lists of the endpoint lack this upstream's entries"
                    );
                }
            }
            Err(RejectedMessage { rejection, .. }) => {
                tracing::debug!(
                    endpoint,
                    upstream,
                    ?rejection,
                    "an upstream of the endpoint has no part in an answer"
                );
            }
        }
    }

    /// Sends a request to all upstreams. One of the answers is the client's.
    pub(super) async fn ask_all_alike(&self, read: &ReadMessage) -> Result<Reply, RejectedMessage> {
        let parts = self.plan.places().map(|place| (place, read.call.body().clone())).collect();
        let answers = self.ask_several(read, parts).await?;
        let (mut failed, mut refused) = (None, None);
        for (_, answer) in answers {
            match answer {
                Ok(answer) if answer.result().is_some() => return Ok(self.reply(answer)),
                Ok(answer) => refused = refused.or(Some(answer)),
                Err(rejected) => failed = failed.or(Some(rejected)),
            }
        }
        match (refused, failed) {
            (Some(answer), _) => Ok(self.reply(answer)),
            (None, failed) => Err(failed.unwrap_or_else(|| bad_answer("gives no answer").into())),
        }
    }

    /// Sends a request to one upstream after the other, until one answers.
    pub(super) async fn ask_any(&self, read: &ReadMessage) -> Result<Reply, RejectedMessage> {
        let mut failed = None;
        for place in self.plan.places().filter(|place| self.member(*place).is_ok()) {
            match self.ask(read, place, read.call.body().clone(), None).await {
                Ok(reply) => {
                    let ids = RequestIds { id: read.call.id().map(str::to_owned), token: None };
                    return Ok(self.shown(read, place, ids, reply));
                }
                Err(rejected) if read.message.siblings.caller().is_none() => return Err(rejected),
                Err(rejected) => failed = failed.or(Some(rejected)),
            }
        }
        match failed {
            Some(failed) => Err(failed),
            None => self.refuse(&read.message, absent()).await,
        }
    }

    /// Passes a notification to all upstreams that have a part in the session.
    pub(super) async fn tell_all(&self, read: &ReadMessage) -> Result<Reply, RejectedMessage> {
        let has_part = |place: &usize| match &read.session {
            Some(session) => matches!(session.at(*place), Joining::Joined(_)),
            None => true,
        };
        let (mut accepted, mut failed) = (None, None);
        let has_part = |place: &usize| self.member(*place).is_ok() && has_part(place);
        for place in self.plan.places().filter(has_part) {
            match self.ask(read, place, read.call.body().clone(), None).await {
                Ok(reply) => accepted = accepted.or(Some(Reply { session: None, ..reply })),
                Err(rejected) if read.message.siblings.caller().is_none() => return Err(rejected),
                Err(rejected) => failed = failed.or(Some(rejected)),
            }
        }
        match (accepted, failed) {
            (Some(reply), _) => Ok(reply),
            (None, Some(failed)) => Err(failed),
            (None, None) => self.refuse(&read.message, Rejection::SessionNotFound).await,
        }
    }
}

/// True if an upstream does not have the method of a request.
pub(super) fn lacks_method(answer: &PartAnswer) -> bool {
    answer.error_code() == Some(-32601)
}

/// The id of a request as JSON text.
pub(super) fn id_of(read: &ReadMessage) -> &str {
    read.call.id().unwrap_or("null")
}

fn late() -> Rejection {
    Rejection::Upstream {
        fault: UpstreamFault::Timeout,
        message: "An MCP server of this endpoint did not answer in time".to_owned(),
    }
}
