//! Keeps the secret of one caller for the next one: the arguments, where its instance is used again.

use std::sync::{Mutex, PoisonError};

use witgate_guest_hostile::{Call, ConfigError, Data, Decision, HOST, Host, Hostile, Wants, authorizer};

static REMEMBERED: Mutex<Option<String>> = Mutex::new(None);

struct Guest;

impl Hostile for Guest {
    fn configure() -> Result<Wants, ConfigError> {
        Ok(Wants { data: Data { arguments: true, ..Data::default() }, ..Wants::default() })
    }

    fn authorize(_call: &Call<'_>) -> Decision {
        let arguments = HOST.arguments().map(std::borrow::Cow::into_owned);
        let mut remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *remembered, arguments) {
            Some(others) => Decision::deny("remembers", others),
            None => Decision::Allow,
        }
    }
}

authorizer!(Guest);
