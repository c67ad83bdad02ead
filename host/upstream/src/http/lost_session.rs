//! Upstreams without sessions, and upstreams that have dropped one.

use ::http::{HeaderMap, StatusCode, Uri};
use bytes::Bytes;

use super::bound_session::BoundSession;
use super::outgoing;
use super::upstream::HttpUpstream;
use crate::bridge;
use crate::era::PATIENCE;
use crate::identity::RequestSender;

/// The id cannot be one of a client that counts its requests.
const PING: &[u8] = br#"{"jsonrpc":"2.0","id":"witgate:ping","method":"ping"}"#;

impl HttpUpstream {
    /// True if `initialize` opens sessions. If that is unknown, it is tried. An upstream that cannot be asked counts
    /// as one with sessions.
    pub(super) async fn finds_sessions(&self) -> bool {
        if let Some(keeps) = self.keeps.known() {
            return keeps;
        }
        let asked = tokio::time::timeout(PATIENCE, self.try_session()).await;
        let keeps = asked.ok().flatten();
        if let Some(keeps) = keeps {
            self.keeps.note(keeps);
        }
        keeps.unwrap_or(true)
    }

    async fn try_session(&self) -> Option<bool> {
        let (body, _) = bridge::initialize("{}");
        let draft = |uri: &Uri, own: &HeaderMap| outgoing::own_post(uri, own, body, None, None);
        let composed = self.compose(RequestSender::Witgate, None, draft).await.ok()?;
        let reply = self.request(composed).await.ok()?;
        let session = reply.session();
        self.farewells.say(&session, None);
        match reply.response.status() {
            StatusCode::OK => Some(session.id().is_some()),
            // It has no `initialize`, so it is of the stateless era.
            StatusCode::BAD_REQUEST => Some(false),
            _ => None,
        }
    }

    /// True if an answer with `status` means that the upstream has dropped the session. The protocol requires 404, and
    /// many servers send 400. Both may also be about the message, so a ping is sent: an existing session accepts it.
    /// If the answer to the ping is not clear, a 404 counts as the protocol defines it.
    pub(super) async fn has_lost(
        &self,
        session: &BoundSession,
        status: StatusCode,
        sender: RequestSender<'_>,
    ) -> bool {
        if !matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) {
            return false;
        }
        // Without a version, because the caller's version may be the reason of the refusal.
        let ping = Bytes::from_static(PING);
        let draft = |uri: &Uri, own: &HeaderMap| outgoing::own_post(uri, own, ping, None, session.id());
        let composed = self.compose(sender, Some(session), draft).await;
        let Ok(ping) = composed else { return status == StatusCode::NOT_FOUND };
        match self.request(ping).await.map(|answered| answered.response.status()) {
            Ok(StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) => true,
            Ok(answered) if answered.is_success() => false,
            _ => status == StatusCode::NOT_FOUND,
        }
    }
}
