//! The reasons why nobody gets in through a provider.

use http::StatusCode;

use crate::database::identities::RefusedArrival;
use crate::error::AccountsError;
use crate::meters::LoginOutcome;
use witgate_credentials::login::LoginError;

/// The reason. It contains no secret.
#[derive(Debug)]
pub(crate) enum ProviderFault {
    /// The answer belongs to no login of this browser at this provider.
    Mismatch,
    /// The answer names another issuer.
    Issuer(String),
    /// The person or the provider has refused.
    Refused(String),
    /// The provider does not accept the code.
    Code,
    /// The answer about the person is not believed, with the reason.
    Token(String),
    /// The provider does not answer as it should.
    Unreachable(String),
    /// Too many answers are looked at.
    Busy,
    /// The request of the client is longer than any valid one.
    LongRequest,
    /// No rule fits the person.
    NotAllowed(Box<RefusedArrival>),
    /// The person has no account, and gets none.
    NoAccount {
        /// Their id at the provider.
        subject: String,
    },
    /// An operator has taken their identity away from an account.
    Unlinked {
        /// Their id at the provider.
        subject: String,
    },
    /// The people of this provider have as many accounts as possible.
    TooManyAccounts {
        /// Their id at the provider.
        subject: String,
    },
    /// Their account is disabled.
    Disabled,
    /// The accounts cannot be used.
    Store(AccountsError),
}

/// The reason as the page shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProviderNotice {
    /// The login has to begin again.
    Again,
    /// The provider has refused.
    Refused,
    /// The provider does not answer as it should.
    Unreachable,
    /// Too many people log in at the same time.
    Busy,
    /// The person has no access here.
    NoAccess,
}

impl ProviderFault {
    /// The code of the fault, for the log.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Mismatch => "provider-state",
            Self::Issuer(_) => "provider-issuer",
            Self::Refused(_) => "provider-refused",
            Self::Code => "provider-code",
            Self::Token(_) => "provider-token",
            Self::Unreachable(_) => "provider-unreachable",
            Self::Busy => "provider-busy",
            Self::LongRequest => "request-malformed",
            Self::NotAllowed(_) => "provider-not-allowed",
            Self::NoAccount { .. } => "provider-no-account",
            Self::Unlinked { .. } => "provider-unlinked",
            Self::TooManyAccounts { .. } => "provider-too-many-accounts",
            Self::Disabled => "user-disabled",
            Self::Store(error) => error.code(),
        }
    }

    /// More about the fault, for the log.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Issuer(why) | Self::Refused(why) | Self::Token(why) | Self::Unreachable(why) => why.clone(),
            Self::NotAllowed(refused) => format!("subject {}", refused.subject),
            Self::NoAccount { subject } | Self::Unlinked { subject } | Self::TooManyAccounts { subject } => {
                format!("subject {subject}")
            }
            Self::Store(error) => error.to_string(),
            Self::Mismatch | Self::Code | Self::Busy | Self::LongRequest | Self::Disabled => String::new(),
        }
    }

    /// True if the provider was asked about something that it does not vouch for.
    pub(crate) fn is_guess(&self) -> bool {
        matches!(self, Self::Code | Self::Token(_))
    }

    /// The end of the attempt, for the metrics.
    pub(crate) fn outcome(&self) -> LoginOutcome {
        match self.notice() {
            Some(ProviderNotice::Unreachable | ProviderNotice::Busy) | None => LoginOutcome::Unavailable,
            Some(ProviderNotice::Again | ProviderNotice::Refused | ProviderNotice::NoAccess) => {
                LoginOutcome::Wrong
            }
        }
    }

    /// The notice for the page. None: the accounts cannot be used, which has a page of its own.
    pub(crate) fn notice(&self) -> Option<ProviderNotice> {
        Some(match self {
            Self::Mismatch | Self::Code | Self::Issuer(_) | Self::LongRequest => ProviderNotice::Again,
            Self::Refused(_) => ProviderNotice::Refused,
            Self::Token(_) | Self::Unreachable(_) => ProviderNotice::Unreachable,
            Self::Busy | Self::Store(AccountsError::Busy) => ProviderNotice::Busy,
            Self::NotAllowed(_)
            | Self::NoAccount { .. }
            | Self::Unlinked { .. }
            | Self::TooManyAccounts { .. }
            | Self::Disabled => ProviderNotice::NoAccess,
            Self::Store(_) => return None,
        })
    }
}

impl ProviderNotice {
    /// The sentence for the person.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Again => {
                "This answer belongs to another login, or is too old. Begin again; your browser has to accept cookies."
            }
            Self::Refused => "The login was refused there. Begin again if you want to log in.",
            Self::Unreachable => "The login there has failed. Try again in a moment.",
            Self::Busy => "Too many people are logging in. Try again in a moment.",
            Self::NoAccess => "Your account there gives no access here. Ask whoever runs this server.",
        }
    }

    /// The status of the page.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Again => StatusCode::BAD_REQUEST,
            Self::Refused | Self::NoAccess => StatusCode::FORBIDDEN,
            Self::Unreachable => StatusCode::BAD_GATEWAY,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl From<LoginError> for ProviderFault {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::State | LoginError::NoAnswer => Self::Mismatch,
            LoginError::Issuer(issuer) => Self::Issuer(issuer),
            LoginError::Refused(why) => Self::Refused(why),
            LoginError::Code(_) => Self::Code,
            LoginError::NoGrant(_) | LoginError::Client(_) | LoginError::Random | LoginError::Tokens(_) => {
                Self::Unreachable(error.to_string())
            }
        }
    }
}

impl From<AccountsError> for ProviderFault {
    fn from(error: AccountsError) -> Self {
        Self::Store(error)
    }
}
