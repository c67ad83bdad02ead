//! What a decision is about. Arguments, claims and issuer are pulled from the host once, and only
//! where a rule for this very call looks at them.

use std::borrow::Cow;

use witgate_plugin::json::{self, Json};
use witgate_plugin::{Call, Claims, Host, Principal};

use crate::condition::Condition;
use crate::rules::Rules;

/// The texts that the host gave.
#[derive(Default)]
pub(crate) struct Pulled<'h> {
    arguments: Option<Cow<'h, str>>,
    claims: Option<Cow<'h, str>>,
    issuer: Option<Cow<'h, str>>,
}

impl<'h> Pulled<'h> {
    pub(crate) fn new<H: Host>(rules: &Rules, host: &'h H, call: &Call<'_>) -> Self {
        let looked_at =
            |argument: bool| rules.every_condition().any(|c| c.on_argument() == argument && c.is_for(call));
        Self {
            arguments: if looked_at(true) { host.arguments() } else { None },
            claims: if looked_at(false) { host.claims() } else { None },
            issuer: if rules.know_issuers() { host.issuer() } else { None },
        }
    }
}

/// The call, the caller, and what conditions look at. Arguments or claims that are not there, or
/// not strict JSON, are none: no condition on them holds.
pub(crate) struct Facts<'a> {
    pub(crate) call: &'a Call<'a>,
    pub(crate) principal: &'a Principal<'a>,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) arguments: Option<Json<'a>>,
    pub(crate) claims: Option<Claims<'a>>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(call: &'a Call<'_>, principal: &'a Principal<'_>, pulled: &'a Pulled<'_>) -> Self {
        Self {
            call,
            principal,
            issuer: pulled.issuer.as_deref(),
            arguments: pulled.arguments.as_deref().and_then(|text| json::parse(text).ok()),
            claims: pulled.claims.as_deref().and_then(|text| Claims::parse(text).ok()),
        }
    }

    /// Whether all of `conditions` hold.
    pub(crate) fn meet(&self, conditions: &[Condition]) -> bool {
        conditions.iter().all(|condition| condition.holds(self))
    }
}
