//! A question to policies that only explain: a call, and who makes it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use witgate_plugin::{Digest, Identity, Scheme, TargetKind};

use witgate_cases::CaseCall;
use witgate_config::{Config, PolicyKind, Transport};
use witgate_flow::Arrival;
use witgate_flow::explanation::ExplainedCaller;
use witgate_message::credential::Credentials;
use witgate_policy::generation::Generation;

/// The reason why a question cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QuestionError {
    /// The configuration has no upstream at this place.
    #[error("there is no such upstream")]
    Upstream,
    /// The credential has characters that no header may have.
    #[error("the token cannot be the value of a header")]
    Token,
}

/// A call, its sender and its time.
#[derive(Clone, Debug)]
pub(crate) struct CallQuestion {
    /// The place of the upstream in the configuration.
    pub(crate) upstream: usize,
    pub(crate) call: CaseCall,
    /// The arguments. None: there are none.
    pub(crate) arguments: Option<Value>,
    pub(crate) headers: HeaderMap,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) sender: QuestionSender,
    /// The time, in seconds since the Unix epoch.
    pub(crate) at: u64,
}

/// The sender of a call.
#[derive(Clone, Debug)]
pub(crate) enum QuestionSender {
    /// Somebody without a credential.
    Nobody,
    /// A caller who is assumed to be known.
    Assumed { identity: Identity, proven_by: Arc<str> },
    /// The owner of a key, of which only the digest is known. A text stands for the key.
    Key { policy: String, header: Option<HeaderName>, text: SecretString, digest: Digest },
    /// The owner of a token. If its claims were written for the question, every signature counts as good.
    Token { text: SecretString, is_trusted: bool },
}

impl QuestionSender {
    /// The text of the credential.
    pub(crate) fn secret(&self) -> Option<&str> {
        match self {
            Self::Nobody | Self::Assumed { .. } => None,
            Self::Key { text, .. } | Self::Token { text, .. } => Some(text.expose_secret()),
        }
    }
}

impl CallQuestion {
    /// Has policies take what stands for a credential as the credential.
    pub(super) fn prepare(&self, generation: &Generation) {
        for policy in generation.policies() {
            let Some(replay) = policy.replay() else { continue };
            let digest = match &self.sender {
                QuestionSender::Key { policy: owner, text, digest, .. } if **policy.name() == **owner => {
                    Some((text.expose_secret().as_bytes().to_vec(), *digest))
                }
                _ => None,
            };
            replay.set(digest.into_iter().collect::<HashMap<_, _>>(), Vec::new());
            let is_trusted = matches!(self.sender, QuestionSender::Token { is_trusted: true, .. });
            if is_trusted && policy.kind() == PolicyKind::Jwt {
                replay.trust_signatures();
            }
        }
    }

    /// The message, and its caller.
    pub(super) fn arrival(&self, config: &Config) -> Result<(Arrival, ExplainedCaller), QuestionError> {
        let transport = match config.server.transport {
            Transport::Http => witgate_plugin::Transport::Http,
            Transport::Stdio => witgate_plugin::Transport::Stdio,
        };
        let (mut headers, mut shown) = (self.headers.clone(), None);
        match transport {
            witgate_plugin::Transport::Http => self.show_in(&mut headers)?,
            witgate_plugin::Transport::Stdio => shown = Some(self.shown()),
        }
        let arrival = Arrival {
            transport,
            peer: self.peer,
            known: Default::default(),
            under_way: Default::default(),
            certificate: None,
            headers,
            body: Bytes::from(self.message().to_string()),
            shown,
            session: None,
        };
        let caller = match &self.sender {
            QuestionSender::Assumed { identity, proven_by } => {
                ExplainedCaller::Assumed { identity: identity.clone(), proven_by: Arc::clone(proven_by) }
            }
            QuestionSender::Nobody | QuestionSender::Key { .. } | QuestionSender::Token { .. } => {
                ExplainedCaller::Shown
            }
        };
        Ok((arrival, caller))
    }

    /// Adds the credential to the headers.
    fn show_in(&self, headers: &mut HeaderMap) -> Result<(), QuestionError> {
        let (name, value) = match &self.sender {
            QuestionSender::Nobody | QuestionSender::Assumed { .. } => return Ok(()),
            QuestionSender::Key { header: Some(name), text, .. } => {
                (name.clone(), text.expose_secret().to_owned())
            }
            QuestionSender::Key { header: None, text, .. } | QuestionSender::Token { text, .. } => {
                (AUTHORIZATION, format!("Bearer {}", text.expose_secret()))
            }
        };
        let value = HeaderValue::try_from(value);
        let value = value.map_err(|_| QuestionError::Token)?;
        headers.insert(name, value);
        Ok(())
    }

    /// The credential, as over stdio.
    fn shown(&self) -> Credentials {
        let mut shown = Credentials::default();
        match &self.sender {
            QuestionSender::Nobody | QuestionSender::Assumed { .. } => {}
            QuestionSender::Key { header: Some(name), text, .. } => {
                shown.add(Scheme::Header, Some(name.clone()), text.clone());
            }
            QuestionSender::Key { header: None, text, .. } | QuestionSender::Token { text, .. } => {
                shown.add(Scheme::Bearer, None, text.clone());
            }
        }
        shown
    }

    fn message(&self) -> Value {
        let name = match self.call.kind {
            TargetKind::Tool | TargetKind::Prompt => Some("name"),
            TargetKind::Resource => Some("uri"),
            TargetKind::Method => None,
        };
        let mut params = Map::new();
        if let Some(name) = name {
            params.insert(name.to_owned(), self.call.target.as_str().into());
        }
        if let Some(arguments) = &self.arguments {
            params.insert("arguments".to_owned(), arguments.clone());
        }
        json!({ "jsonrpc": "2.0", "id": 1, "method": self.call.method, "params": params })
    }
}
