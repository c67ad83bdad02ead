//! Handshakes.

use bytes::Bytes;
use witgate_flow::Reply;
use witgate_flow::port::Upstream;
use witgate_flow::reject::{RejectedMessage, Rejection};
use witgate_message::fault::MessageFault;

use super::member_calls::{PartAnswers, lacks_method};
use super::{CombinedFlow, ReadMessage};
use crate::handshake::{self, OpenedUpstream};
use crate::joint_session::{Joining, JointSession};
use crate::message::ClientMessage;
use crate::part::PartAnswer;

impl<U: Upstream + 'static> CombinedFlow<U> {
    /// Answers `initialize` and `server/discover`. An upstream without an answer joins later. If one of the upstreams speaks
    /// only the stateful era, so does the endpoint: the bridge to it has only a part of the protocol.
    pub(super) async fn open(&self, read: &ReadMessage) -> Result<Reply, RejectedMessage> {
        let body = read.call.body();
        let parts = self.plan.places().map(|place| (place, body.clone())).collect();
        let answers = self.ask_several(read, parts).await?;
        let opened = |(place, answer): &(usize, Result<PartAnswer, RejectedMessage>)| {
            OpenedUpstream::read(*place, answer.as_ref().ok()?.result()?)
        };
        let opened: Vec<_> = answers.iter().filter_map(opened).collect();
        if opened.is_empty() {
            return self.without_answer(answers).map_err(|rejected| *rejected);
        }
        if read.call.method() != "initialize" {
            if answers.iter().any(|(_, answer)| is_of_older_era(answer)) {
                let older = answers.into_iter().filter(|(_, answer)| is_of_older_era(answer));
                return self.without_answer(older.collect()).map_err(|rejected| *rejected);
            }
            let missing = self.missing(&opened, &answers);
            let result = handshake::discover_result((&self.plan, &self.name), &opened, &missing);
            return Ok(self.joint(read, answers, &result)?);
        }
        let version = handshake::common_version(&opened).unwrap_or_default().to_owned();
        let request = handshake::request_with(body, &version).ok_or(Rejection::SessionNotFound)?;
        let (opened, states) = self.agree(read, (&answers, opened), &version, &request).await;
        let session = match self.session(read, request, &version, states.clone()) {
            Ok(session) => session,
            Err(rejection) => {
                self.leave_all(&read.message, states).await;
                return Err(rejection.into());
            }
        };
        let missing = self.missing(&opened, &answers);
        let result = handshake::initialize_result((&self.plan, &self.name), &opened, &version, &missing);
        let reply = self.joint(read, answers, &result)?;
        Ok(Reply { session: Some(session), ..reply })
    }

    /// Has all upstreams speak `version`: those that have answered another one get another handshake.
    async fn agree(
        &self,
        read: &ReadMessage,
        (answers, opened): (&PartAnswers, Vec<OpenedUpstream>),
        version: &str,
        request: &Bytes,
    ) -> (Vec<OpenedUpstream>, Vec<Joining>) {
        let mut states = vec![Joining::Absent; self.members.len()];
        let mut agreed = Vec::new();
        for upstream in opened {
            let place = upstream.place;
            let own =
                answers.iter().find(|(of, _)| *of == place).and_then(|(_, answer)| answer.as_ref().ok());
            let own = own.and_then(|answer| answer.session.clone());
            let joined = if upstream.version() == version {
                Ok((own, upstream))
            } else {
                self.leave(&read.message, place, own).await;
                self.shake_hands(&read.message, place, request.clone(), version).await
            };
            if let (Ok((own, upstream)), Some(state)) = (joined, states.get_mut(place)) {
                *state = Joining::Joined(own);
                agreed.push(upstream);
            }
        }
        (agreed, states)
    }

    /// Opens a session of the caller, and returns its id.
    fn session(
        &self,
        read: &ReadMessage,
        request: Bytes,
        version: &str,
        states: Vec<Joining>,
    ) -> Result<Box<str>, Rejection> {
        let caller = read.message.siblings.caller().ok_or(Rejection::SessionNotFound)?;
        let owner = (caller.principal(), caller.party(read.message.arrival().peer));
        self.sessions.open(JointSession::new(owner, request, version, states))
    }

    /// Ends the sessions at upstreams of which no session of the client's would know.
    async fn leave_all(&self, message: &ClientMessage, states: Vec<Joining>) {
        for (place, joining) in states.into_iter().enumerate() {
            if let Joining::Joined(own) = joining {
                self.leave(message, place, own).await;
            }
        }
    }

    /// The upstreams that have no part in a handshake, without those that give this caller none.
    fn missing(&self, opened: &[OpenedUpstream], answers: &PartAnswers) -> Vec<usize> {
        let is_denied = |place: &usize| {
            let denied = |answer: &Result<PartAnswer, RejectedMessage>| {
                matches!(answer, Err(RejectedMessage { rejection: Rejection::Denied { .. }, .. }))
            };
            answers.iter().any(|(of, answer)| of == place && denied(answer))
        };
        let is_missing =
            |place: &usize| opened.iter().all(|upstream| upstream.place != *place) && !is_denied(place);
        self.plan.places().filter(is_missing).collect()
    }
}

/// True if an upstream does not know `server/discover`.
fn is_of_older_era(answer: &Result<PartAnswer, RejectedMessage>) -> bool {
    match answer {
        Ok(answer) => lacks_method(answer),
        Err(RejectedMessage { rejection, .. }) => {
            matches!(rejection, Rejection::Malformed(MessageFault::UnknownMethod(_)))
        }
    }
}
