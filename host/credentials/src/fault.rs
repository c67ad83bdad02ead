//! The reasons why a call gets no credential for its upstream.

use std::fmt;
use std::sync::Arc;

use url::Url;

/// A call without its credential for the upstream. It is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credential `{credential}`: {problem}")]
pub struct OutboundFault {
    /// The name of the credential.
    pub credential: Arc<str>,
    /// The problem.
    pub problem: OutboundProblem,
    /// The way to connect an account. None: the caller cannot do it, or not now.
    pub invitation: Option<Box<Invitation>>,
}

/// The invitation of a caller to connect their account at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The page for it.
    pub url: Url,
    /// The number that the page shows, for a comparison. None: the page asks for the caller's credential.
    pub code: Option<Box<str>>,
    /// The form in which the client gets the URL.
    pub form: InvitationForm,
}

/// The form of an invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvitationForm {
    /// The text of an error.
    Text,
    /// An error that makes the client open the URL (MCP 2025-11-25, "URL Mode Elicitation").
    Elicitation {
        /// The id of the elicitation.
        id: Box<str>,
    },
    /// A request for input, after which the client repeats the call (MCP 2026-07-28, "Multi Round-Trip Requests").
    Input {
        /// The state that the client sends back.
        state: Box<str>,
    },
}

/// The problem of a credential. It contains no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboundProblem {
    /// A secret of the credential does not exist.
    Missing(MissingSource),
    /// The server does not accept the credential.
    Rejected,
    /// The authorization server issues no token.
    Refused {
        /// Its error code (RFC 6749, section 5.2).
        error: Arc<str>,
    },
    /// There is no answer of the authorization server.
    Unreachable {
        /// The reason, for the operator.
        why: Arc<str>,
    },
    /// The caller has shown no token that could be exchanged.
    NoCallerToken,
    /// The grant of a person has ended.
    Ended,
    /// The caller has not connected their account.
    NotConnected,
    /// The credential is that of each caller, and the caller has shown nothing that says who they are.
    NoPrincipal,
    /// An account is not connected, because somebody or something is against it.
    ConnectDenied {
        /// The reason, for the operator.
        why: Arc<str>,
    },
    /// The answer of a provider or of a client belongs to another login.
    StateMismatch,
}

impl OutboundProblem {
    /// A detail for the operator.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Refused { error: detail }
            | Self::Unreachable { why: detail }
            | Self::ConnectDenied { why: detail } => Some(detail),
            Self::Missing(_)
            | Self::Rejected
            | Self::NoCallerToken
            | Self::Ended
            | Self::NotConnected
            | Self::NoPrincipal
            | Self::StateMismatch => None,
        }
    }

    /// True if only a secret or a login helps.
    pub(crate) fn needs_login(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Ended | Self::NotConnected)
    }

    /// No answer, with the reason for the operator.
    pub(crate) fn unreachable(why: String) -> Self {
        Self::Unreachable { why: why.into() }
    }
}

/// The source of a secret that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissingSource {
    /// The environment variable with this name.
    Variable(Arc<str>),
    /// A file.
    File,
    /// The encrypted store, with the name of the secret.
    Store(Arc<str>),
    /// A login of a person.
    Login,
}

impl OutboundFault {
    /// The fault of a credential with this problem.
    pub fn new(credential: &Arc<str>, problem: OutboundProblem) -> Self {
        Self { credential: Arc::clone(credential), problem, invitation: None }
    }

    /// True if the caller lacks an account of their own.
    pub fn is_about_account(&self) -> bool {
        matches!(
            self.problem,
            OutboundProblem::NotConnected | OutboundProblem::Ended | OutboundProblem::NoPrincipal
        )
    }

    /// The same, with a way to connect an account.
    pub fn with(self, invitation: Invitation) -> Self {
        Self { invitation: Some(Box::new(invitation)), ..self }
    }

    /// The reason code.
    pub fn reason(&self) -> &'static str {
        match self.problem {
            OutboundProblem::Missing(_) => "credential-missing",
            OutboundProblem::Rejected | OutboundProblem::Refused { .. } => "credential-rejected",
            OutboundProblem::Unreachable { .. } => "provider-unreachable",
            OutboundProblem::NoCallerToken => "no-caller-token",
            OutboundProblem::Ended => "credential-ended",
            OutboundProblem::NotConnected => "connect-required",
            OutboundProblem::NoPrincipal => "no-principal",
            OutboundProblem::ConnectDenied { .. } => "connect-denied",
            OutboundProblem::StateMismatch => "state-mismatch",
        }
    }

    /// The message for the caller, without paths and addresses.
    pub fn message(&self) -> String {
        match &self.problem {
            OutboundProblem::Missing(source) => {
                let name = match source {
                    MissingSource::Variable(name) => name,
                    MissingSource::File | MissingSource::Store(_) | MissingSource::Login => &self.credential,
                };
                format!("Missing required auth: {name}. {}.", self.advice())
            }
            OutboundProblem::Rejected => {
                format!(
                    "The MCP server does not accept the credential `{}`: {}",
                    self.credential,
                    self.advice()
                )
            }
            OutboundProblem::Refused { .. } => {
                format!("The credential `{}` is not issued any more: {}", self.credential, self.advice())
            }
            OutboundProblem::Unreachable { .. } => {
                format!(
                    "The issuer of the credential `{}` gives no answer: {}",
                    self.credential,
                    self.advice()
                )
            }
            OutboundProblem::Ended => {
                format!("The login for the credential `{}` has ended. {}.", self.credential, self.advice())
            }
            OutboundProblem::NoCallerToken => {
                format!("The credential `{}` is made from your own token: {}", self.credential, self.advice())
            }
            OutboundProblem::NotConnected => {
                format!(
                    "Connect your account for the credential `{}` first. {}.",
                    self.credential,
                    self.advice()
                )
            }
            OutboundProblem::NoPrincipal => {
                format!("The credential `{}` is that of each caller: {}", self.credential, self.advice())
            }
            OutboundProblem::ConnectDenied { .. } => {
                format!("No account is connected for the credential `{}`: {}", self.credential, self.advice())
            }
            OutboundProblem::StateMismatch => {
                format!("State mismatch: this answer belongs to another login. {}.", self.advice())
            }
        }
    }

    /// The advice how to provide the credential.
    pub fn advice(&self) -> String {
        if let Some(Invitation { url, code, .. }) = self.invitation.as_deref() {
            let compare = code.as_ref().map_or_else(String::new, |code| {
                format!(", and go on only if the page shows the number {code}")
            });
            return format!("Open {url} in a browser{compare}, then repeat the call");
        }
        match &self.problem {
            OutboundProblem::Missing(MissingSource::Variable(name)) => {
                format!("Set the {name} environment variable")
            }
            OutboundProblem::Missing(MissingSource::File) => {
                "Write it into the file that the configuration names".to_owned()
            }
            OutboundProblem::Missing(MissingSource::Store(name)) => {
                format!("Set it with `witgate secret set {name}`")
            }
            OutboundProblem::Missing(MissingSource::Login) | OutboundProblem::Ended => {
                format!("Log in with `witgate credential login {}`", self.credential)
            }
            OutboundProblem::Rejected | OutboundProblem::Refused { .. } => "tell the operator".to_owned(),
            OutboundProblem::Unreachable { .. } => "try again later".to_owned(),
            OutboundProblem::NoCallerToken => {
                "authenticate with a token of the authorization server".to_owned()
            }
            OutboundProblem::NotConnected => {
                format!("Ask the operator for `witgate credential login {} --as …`", self.credential)
            }
            OutboundProblem::NoPrincipal => "send a credential that says who you are".to_owned(),
            OutboundProblem::ConnectDenied { .. } => "repeat the call to try it again".to_owned(),
            OutboundProblem::StateMismatch => "Repeat the call to begin a new one".to_owned(),
        }
    }
}

impl fmt::Display for OutboundProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(MissingSource::Variable(name)) => {
                write!(f, "the environment variable {name} is not set or is empty")
            }
            Self::Missing(MissingSource::File) => f.write_str("its file does not exist"),
            Self::Missing(MissingSource::Store(name)) => write!(f, "the store of secrets has no `{name}`"),
            Self::Missing(MissingSource::Login) => f.write_str("nobody has logged in for it"),
            Self::Ended => f.write_str("its login has ended"),
            Self::Rejected => f.write_str("the server does not accept it"),
            Self::Refused { error } => write!(f, "the authorization server refuses it: {error}"),
            Self::Unreachable { why } => write!(f, "the authorization server gives no answer: {why}"),
            Self::NoCallerToken => f.write_str("the caller has shown no token that could be exchanged"),
            Self::NotConnected => f.write_str("the caller has not connected their account"),
            Self::NoPrincipal => f.write_str("the caller has shown nothing that says who they are"),
            Self::ConnectDenied { why } => write!(f, "no account is connected: {why}"),
            Self::StateMismatch => f.write_str("the answer belongs to another login"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(problem: OutboundProblem) -> OutboundFault {
        OutboundFault::new(&"weather".into(), problem)
    }

    #[test]
    fn a_message_names_the_variable_to_set() {
        let missing = fault(OutboundProblem::Missing(MissingSource::Variable("WEATHER_API_KEY".into())));
        assert_eq!(
            missing.message(),
            "Missing required auth: WEATHER_API_KEY. Set the WEATHER_API_KEY environment variable."
        );
        assert_eq!(missing.reason(), "credential-missing");
    }

    #[test]
    fn a_message_about_a_file_has_no_path() {
        assert_eq!(
            fault(OutboundProblem::Missing(MissingSource::File)).message(),
            "Missing required auth: weather. Write it into the file that the configuration names."
        );
    }

    #[test]
    fn an_invitation_says_where_to_go() {
        let url = Url::parse("https://gate.example.com/connect/hub?t=0").unwrap();
        let invited = |code: Option<&str>| {
            let invitation =
                Invitation { url: url.clone(), code: code.map(Box::from), form: InvitationForm::Text };
            let invitation = Some(Box::new(invitation));
            OutboundFault { invitation, ..fault(OutboundProblem::NotConnected) }.message()
        };
        assert_eq!(
            invited(None),
            "Connect your account for the credential `weather` first. \
             Open https://gate.example.com/connect/hub?t=0 in a browser, then repeat the call."
        );
        assert!(invited(Some("123456")).contains("only if the page shows the number 123456, then repeat"));
    }
}
