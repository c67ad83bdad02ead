//! Messages in a session of the stateful era.

use std::sync::Arc;

use super::answer::{ChildAnswer, ChildOutcome};
use super::audience::Member;
use super::connection::ChildConnection;
use super::outgoing_message::OutgoingMessage;
use super::rooms::ChildSession;
use super::wire::result_response;
use super::{ChildState, ask};
use crate::bridge;
use witgate_flow::reject::Rejection;
use witgate_message::call::MessageKind;
use witgate_message::fault::MessageFault;

const CANCELLED: &str = "notifications/cancelled";

impl ChildState {
    /// A message within a session.
    pub(super) async fn in_session(
        &self,
        sent: &OutgoingMessage<'_>,
        name: &str,
    ) -> Result<ChildAnswer, Rejection> {
        let session = self.session(name, &sent.principal)?;
        session.touch();
        let outcome = match sent.call.kind() {
            MessageKind::Request { .. } => self.session_request(sent, &session).await?,
            MessageKind::Notification => {
                self.session_notification(sent, &session).await?;
                ChildOutcome::Taken
            }
            MessageKind::Response { id } => {
                let connection = session.slot.running().ok_or_else(nothing_asked)?;
                connection.answer(name, sent.call.body(), id.clone()).await?;
                ChildOutcome::Taken
            }
        };
        Ok(ChildAnswer { session: Some(name.into()), outcome })
    }

    async fn session_request(
        &self,
        sent: &OutgoingMessage<'_>,
        session: &ChildSession,
    ) -> Result<ChildOutcome, Rejection> {
        session.is_current()?;
        let own =
            |result: &str| ChildOutcome::Response(result_response(sent.call.id().unwrap_or("null"), result));
        match (sent.call.method(), sent.target()) {
            ("initialize", _) => {
                return Err(MessageFault::InvalidRequest("the session is already open".to_owned()).into());
            }
            // The client checks that Witgate runs, not that the child does.
            ("ping", _) => return Ok(own("{}")),
            ("resources/subscribe", Some(uri)) => {
                session.member.subscribe(uri, || self.subscriptions.take(&session.party))?;
            }
            ("resources/unsubscribe", Some(uri)) => {
                session.member.subscriptions.lock().remove(uri);
                // With a shared child, other sessions may still be subscribed.
                let wants = |member: &Arc<Member>| member.subscriptions.lock().contains_key(uri);
                if session.slot.audience.all().iter().any(wants) {
                    return Ok(own("{}"));
                }
            }
            _ => {}
        }
        let exchange = self.request(&session.slot, sent, Some(&session.member)).await?;
        Ok(ChildOutcome::Running(exchange, None))
    }

    async fn session_notification(
        &self,
        sent: &OutgoingMessage<'_>,
        session: &ChildSession,
    ) -> Result<(), Rejection> {
        match sent.call.method() {
            "notifications/initialized" => {
                session.slot.completed();
                if self.settings.shared {
                    return Ok(());
                }
            }
            CANCELLED => {
                let Some(connection) = session.slot.running() else { return Ok(()) };
                return cancel(&connection, sent, Some(&session.member)).await;
            }
            // The named request may be another session's, unless the child waits for this session.
            "notifications/progress" | "notifications/tasks/status" if self.settings.shared => {
                let name = &session.member.session;
                if !session.slot.running().is_some_and(|connection| connection.waits_for(name)) {
                    return Ok(());
                }
            }
            _ => {}
        }
        match session.slot.running() {
            Some(connection) => connection.tell(sent.call.body().clone()).await,
            // The child has ended, and the next one does not know the request.
            None => Ok(()),
        }
    }
}

async fn cancel(
    connection: &ChildConnection,
    sent: &OutgoingMessage<'_>,
    member: Option<&Member>,
) -> Result<(), Rejection> {
    let params = bridge::params(sent.call).unwrap_or_default();
    let Some(id) = params.get("requestId") else { return Ok(()) };
    let reason = params.get("reason").and_then(witgate_message::json::unquote).unwrap_or_default();
    connection.cancel(&ask(sent, member), id, &reason).await
}

fn nothing_asked() -> Rejection {
    MessageFault::InvalidRequest("it answers no open request".to_owned()).into()
}
