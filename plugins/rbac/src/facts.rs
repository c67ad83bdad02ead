//! The facts of a decision. Arguments, claims, annotations and issuer are read from the host only when a rule needs them
//! on which the decision depends.

use std::borrow::Cow;
use std::cell::OnceCell;

use witgate_plugin::{Call, Claims, Host, Principal, TargetKind, ToolAnnotations};

/// The texts that the host provides.
trait HostTexts {
    fn arguments(&self) -> Option<Cow<'_, str>>;
    fn claims(&self) -> Option<Cow<'_, str>>;
    fn issuer(&self) -> Option<Cow<'_, str>>;
    fn annotations(&self, tool: &str) -> Option<ToolAnnotations>;
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

    fn annotations(&self, tool: &str) -> Option<ToolAnnotations> {
        Host::annotations(self, tool)
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

/// The same texts, with the claims parsed at most once, for all entries of a list. Claims that are missing or not strict
/// JSON count as absent: no condition on them holds.
pub(crate) struct ParsedTexts<'p> {
    pulled: &'p PulledTexts<'p>,
    claims: OnceCell<Option<Claims<'p>>>,
}

impl<'p> ParsedTexts<'p> {
    pub(crate) fn of(pulled: &'p PulledTexts<'p>) -> Self {
        Self { pulled, claims: OnceCell::new() }
    }
}

/// The call, the caller, and the data for conditions.
pub(crate) struct Facts<'a, 'p> {
    pub(crate) call: &'a Call<'a>,
    pub(crate) principal: &'a Principal<'a>,
    texts: &'a ParsedTexts<'p>,
    /// Those of the called tool, read at most once.
    annotations: OnceCell<Option<ToolAnnotations>>,
}

impl<'a, 'p> Facts<'a, 'p> {
    pub(crate) fn new(call: &'a Call<'_>, principal: &'a Principal<'_>, texts: &'a ParsedTexts<'p>) -> Self {
        Self { call, principal, texts, annotations: OnceCell::new() }
    }

    pub(crate) fn issuer(&self) -> Option<&'p str> {
        let pulled = self.texts.pulled;
        pulled.issuer.get_or_init(|| pulled.host.issuer()).as_deref()
    }

    /// The arguments as JSON text, which may be large.
    pub(crate) fn arguments(&self) -> Option<&'p str> {
        let pulled = self.texts.pulled;
        pulled.arguments.get_or_init(|| pulled.host.arguments()).as_deref()
    }

    /// The approved annotations of the called tool. None: the call is not one of a tool, or nothing is approved.
    pub(crate) fn annotations(&self) -> Option<ToolAnnotations> {
        let host = self.texts.pulled.host;
        let is_tool = self.call.kind == TargetKind::Tool;
        is_tool.then(|| *self.annotations.get_or_init(|| host.annotations(self.call.target))).flatten()
    }

    pub(crate) fn claims(&self) -> Option<&'a Claims<'p>> {
        let pulled = self.texts.pulled;
        let text = || pulled.claims.get_or_init(|| pulled.host.claims()).as_deref();
        self.texts.claims.get_or_init(|| Claims::parse(text()?).ok()).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use witgate_plugin::testing::{FakeHost, Person, tool};
    use witgate_plugin::{Data, Wants};

    use super::*;

    #[test]
    fn claims_are_parsed_once_for_all_entries_of_a_list() {
        let data = Data { claims: true, ..Data::default() };
        let wants = Wants { data, ..Wants::default() };
        let host = FakeHost::new().wanting(&wants).claims(r#"{ "team": "red" }"#);
        let (ada, entries) = (Person::named("ada"), [tool("a"), tool("b")]);
        let (pulled, principal) = (PulledTexts::from(&host), ada.principal());
        let texts = ParsedTexts::of(&pulled);
        let [first, second] =
            entries.each_ref().map(|call| Facts::new(call, &principal, &texts).claims().unwrap());
        assert!(std::ptr::eq(first, second) && host.calls("claims") == 1);
    }
}
