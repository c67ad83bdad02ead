//! A token in use: its form in requests, the login that it belongs to, and its times.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use crate::fault::OutboundProblem;
use crate::login_id::LoginId;
use crate::token_answer::AccessToken;

/// The lifetime of a token whose issuer names none. Most issue tokens for an hour.
const USUAL_LIFETIME: Duration = Duration::from_secs(3600);

/// The form of a token in requests, and the time of its renewal.
#[derive(Clone, Debug)]
pub(crate) struct TokenForm {
    /// The name of the credential, for the log.
    pub(crate) credential: Arc<str>,
    /// The header that it is sent in.
    pub(crate) header: HeaderName,
    /// The text before the token.
    pub(crate) prefix: String,
    /// The time before its end.
    pub(crate) refresh_before: Duration,
    /// The time after which its source is asked again in any case, because others may change it. A token that was read
    /// two such times ago is not used before it is read again.
    pub(crate) recheck: Option<Duration>,
}

/// A token in use.
#[derive(Clone)]
pub struct HeldToken {
    pub(crate) header: HeaderName,
    pub(crate) value: HeaderValue,
    /// The account at the issuer, if it is known.
    pub(crate) account: Option<Arc<str>>,
    pub(crate) login: Option<LoginId>,
    pub(crate) since: Instant,
    /// The time from which it is not used before it is read again, because others may have removed it.
    pub(crate) unproven: Option<Instant>,
    pub(crate) renewal: Instant,
    pub(crate) end: Instant,
}

impl HeldToken {
    /// A token that was issued or read now, by a question that has begun at `asked`.
    ///
    /// # Errors
    /// If it does not fit into a header.
    pub(crate) fn new(
        token: &AccessToken,
        form: &TokenForm,
        asked: Instant,
    ) -> Result<Self, OutboundProblem> {
        let text = Zeroizing::new(format!("{}{}", form.prefix, token.access.expose_secret()));
        let unfit = |_| OutboundProblem::Refused { error: "its token does not fit into a header".into() };
        let mut value = HeaderValue::from_str(&text).map_err(unfit)?;
        value.set_sensitive(true);
        let since = Instant::now();
        let lifetime = token.lifetime.unwrap_or(USUAL_LIFETIME);
        let end = since + lifetime;
        let due = end - time_before_end(form.refresh_before, lifetime);
        let renewal = form.recheck.map_or(due, |recheck| due.min(since + recheck));
        let (header, account) = (form.header.clone(), token.account.as_deref().map(Arc::from));
        // Others may have removed it since the question began.
        let unproven = form.recheck.map(|recheck| asked + 2 * recheck);
        Ok(Self { header, value, account, login: token.login, since, unproven, renewal, end })
    }

    /// The login that it belongs to, if it is the token of a person.
    pub fn login(&self) -> Option<LoginId> {
        self.login
    }

    /// Adds it to the headers of a request, in place of others in its header.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(self.header.clone(), self.value.clone());
    }

    /// True until its end.
    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        now < self.end
    }

    /// True if it has to be read again before its next use.
    pub(crate) fn is_unproven(&self, now: Instant) -> bool {
        self.unproven.is_some_and(|unproven| now >= unproven)
    }
}

impl fmt::Debug for HeldToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldToken").field("login", &self.login).finish_non_exhaustive()
    }
}

/// The time before the end at which a token is renewed.
pub(crate) fn time_before_end(setting: Duration, lifetime: Duration) -> Duration {
    time_before(setting, lifetime, chance())
}

/// The time before the end at which a token is renewed: that of the settings, with a tenth more or less, so that several
/// processes do not ask at the same time. Of a short lifetime, it is at most half.
fn time_before(setting: Duration, lifetime: Duration, chance: f64) -> Duration {
    setting.min(lifetime / 2).mul_f64(0.9 + 0.2 * chance).min(lifetime)
}

/// A number from 0 to 1.
fn chance() -> f64 {
    let mut byte = [0];
    // Without random numbers, all processes ask at the same time, which is no danger.
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form() -> TokenForm {
        TokenForm {
            credential: "a".into(),
            header: http::header::AUTHORIZATION,
            prefix: "Bearer ".to_owned(),
            refresh_before: Duration::from_secs(300),
            recheck: None,
        }
    }

    #[test]
    fn a_token_never_prints() {
        let form = form();
        let held = HeldToken::new(&AccessToken::of("sesame".into(), None), &form, Instant::now()).unwrap();
        assert!(!format!("{held:?}").contains("sesame"));
    }

    #[test]
    fn a_slow_read_counts_from_its_beginning() {
        let form = TokenForm { recheck: Some(Duration::from_secs(5)), ..form() };
        let now = Instant::now();
        let Some(asked) = now.checked_sub(Duration::from_secs(8)) else { return };
        let held = HeldToken::new(&AccessToken::of("a".into(), None), &form, asked).unwrap();
        assert!(!held.is_unproven(now) && held.is_unproven(now + Duration::from_secs(3)));
    }

    proptest! {
        #[test]
        fn a_renewal_comes_before_the_end_and_not_at_once(
            setting in 1_u64..100_000, lifetime in 0_u64..100_000_000, chance in 0.0..=1.0_f64,
        ) {
            let (setting, lifetime) = (Duration::from_secs(setting), Duration::from_secs(lifetime));
            let before = time_before(setting, lifetime, chance);
            prop_assert!(before <= lifetime.mul_f64(0.56) + Duration::from_nanos(1), "{before:?}");
            prop_assert!(before >= setting.min(lifetime / 2).mul_f64(0.89), "{before:?}");
        }
    }
}
