//! The facts of a decision. Arguments, claims and issuer are read from the host only when a rule needs them on
//! which the decision depends.

use std::borrow::Cow;
use std::cell::OnceCell;

use witgate_plugin::{Call, Claims, Host, Principal};

/// The texts that the host provides.
trait HostTexts {
    fn arguments(&self) -> Option<Cow<'_, str>>;
    fn claims(&self) -> Option<Cow<'_, str>>;
    fn issuer(&self) -> Option<Cow<'_, str>>;
}

impl<H: Host> HostTexts for H {
    fn arguments(&self) -> Option<Cow<'_, str>> {
        Host::arguments(self)
    }

    fn claims(&self) -> Option<Cow<'_, str>> {
        Host::claims(self)
    }

    fn issuer(&self) -> Option<Cow<'_, str>> {
        Host::issuer(self)
    }
}

/// The texts from the host, each read at most once.
pub(crate) struct PulledTexts<'h> {
    host: &'h dyn HostTexts,
    arguments: OnceCell<Option<Cow<'h, str>>>,
    claims: OnceCell<Option<Cow<'h, str>>>,
    issuer: OnceCell<Option<Cow<'h, str>>>,
}

impl<'h> PulledTexts<'h> {
    pub(crate) fn from<H: Host>(host: &'h H) -> Self {
        let (arguments, claims, issuer) = Default::default();
        Self { host, arguments, claims, issuer }
    }
}

/// The call, the caller, and the data for conditions. Claims that are missing or not strict JSON count as absent: no
/// condition on them holds.
pub(crate) struct Facts<'a, 'h> {
    pub(crate) call: &'a Call<'a>,
    pub(crate) principal: &'a Principal<'a>,
    pulled: &'a PulledTexts<'h>,
    claims: OnceCell<Option<Claims<'a>>>,
}

impl<'a, 'h> Facts<'a, 'h> {
    pub(crate) fn new(call: &'a Call<'_>, principal: &'a Principal<'_>, pulled: &'a PulledTexts<'h>) -> Self {
        Self { call, principal, pulled, claims: OnceCell::new() }
    }

    pub(crate) fn issuer(&self) -> Option<&'a str> {
        self.pulled.issuer.get_or_init(|| self.pulled.host.issuer()).as_deref()
    }

    /// The arguments as JSON text, which may be large.
    pub(crate) fn arguments(&self) -> Option<&'a str> {
        self.pulled.arguments.get_or_init(|| self.pulled.host.arguments()).as_deref()
    }

    pub(crate) fn claims(&self) -> Option<&Claims<'a>> {
        let text = || self.pulled.claims.get_or_init(|| self.pulled.host.claims()).as_deref();
        self.claims.get_or_init(|| Claims::parse(text()?).ok()).as_ref()
    }
}
