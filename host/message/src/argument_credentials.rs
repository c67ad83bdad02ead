//! Credentials in the arguments of tools. Policies declare the arguments; their values are cut out of the message, so
//! that the rest of it is the call.

use std::ops::Range;
use std::sync::Arc;

use http::HeaderMap;
use witgate_plugin::{Pattern, Scheme, TargetKind};

use crate::call::{Access, Call, MessageKind, Target};
use crate::credential::Credentials;
use crate::fault::MessageFault;
use crate::headers::credentials::MAX_LENGTH;
use crate::headers::params;
use crate::json::{cuts, span_in, splice};
use crate::parse::folds_to;
use crate::strict_json::{StrictMembers, string};

#[cfg(test)]
mod tests;

/// An argument that a policy has declared as its credential.
#[derive(Clone, Debug)]
pub struct CredentialArgument {
    /// The policy.
    pub policy: Arc<str>,
    /// The name of the member of `params.arguments`.
    pub name: Arc<str>,
    /// The tools that have the argument.
    pub on: Arc<[Pattern]>,
    /// True if the policy is a shadow.
    pub watched: bool,
}

impl CredentialArgument {
    /// True if the tool has the argument.
    pub fn is_of(&self, tool: &str) -> bool {
        self.on.iter().any(|pattern| pattern.matches(TargetKind::Tool, tool))
    }
}

/// The credentials that were in the arguments of a call.
#[derive(Debug)]
pub struct ArgumentCredentials {
    names: Vec<Arc<str>>,
    shown: Credentials,
}

impl ArgumentCredentials {
    /// Removes the headers that repeat one of these arguments (`Mcp-Param-*`): by their name, or by their value.
    pub fn remove_headers(&self, headers: &mut HeaderMap) {
        let is_value = |text: &str| self.shown.texts().any(|(_, value)| value == text);
        params::remove(headers, &self.names, is_value);
    }

    /// Adds these credentials to those that are `shown` otherwise. A call has one credential; the same one at two places
    /// is one.
    ///
    /// # Errors
    /// `BadCredential`.
    pub fn add_to(mut self, shown: &mut Credentials) -> Result<(), MessageFault> {
        if self.is_among(shown)? {
            self.shown.remove(Scheme::Argument);
        }
        shown.append(self.shown);
        Ok(())
    }

    /// True if the credential is `shown` otherwise as well. What only shadow policies judge does not count.
    fn is_among(&self, shown: &Credentials) -> Result<bool, MessageFault> {
        let Some((.., own)) = self.shown.items().next() else { return Ok(false) };
        if self.shown.items().any(|(.., text)| text != own) {
            return Err(bad("two arguments have different credentials: send one with each call"));
        }
        // A certificate belongs to the connection.
        let mut others = shown.items().filter(|(scheme, ..)| *scheme != Scheme::Certificate).peekable();
        let is_shown = others.peek().is_some();
        match others.all(|(.., text)| text == own) {
            true => Ok(is_shown),
            false => Err(bad("an argument has another credential than the request: send one with each call")),
        }
    }
}

impl Call {
    /// Cuts the credentials out of the arguments of a tool's call. None: there are none.
    ///
    /// # Errors
    /// `BadCredential` if one is no text, is empty or is too long, or if another argument has the name in another case.
    pub fn cut(
        self,
        declared: &[CredentialArgument],
    ) -> Result<(Self, Option<Box<ArgumentCredentials>>), MessageFault> {
        let Some(place) = self.arguments.clone() else { return Ok((self, None)) };
        let Some(found) = FoundArguments::of(&self, declared)? else { return Ok((self, None)) };
        let FoundArguments { spans, credentials } = found;
        let cut: usize = spans.iter().map(Range::len).sum();
        let mut edits: Vec<_> = spans.into_iter().map(|span| (span, "")).collect();
        let body = splice(&self.body, &mut edits);
        // All cuts are in the arguments.
        let moved = |span: Range<usize>| match span.start >= place.end {
            true => span.start - cut..span.end - cut,
            false => span,
        };
        let kind = match self.kind {
            MessageKind::Request { id } => MessageKind::Request { id: moved(id) },
            other => other,
        };
        let call = Self {
            body,
            kind,
            arguments: Some(place.start..place.end - cut),
            meta: self.meta.map(moved),
            progress_token: self.progress_token.map(moved),
            ..self
        };
        Ok((call, Some(Box::new(credentials))))
    }
}

/// The declared arguments of a call.
struct FoundArguments {
    /// The spans of the message to cut.
    spans: Vec<Range<usize>>,
    credentials: ArgumentCredentials,
}

impl FoundArguments {
    /// None: the call has none.
    fn of(call: &Call, declared: &[CredentialArgument]) -> Result<Option<Self>, MessageFault> {
        let Access::Target(Target { kind: TargetKind::Tool, name: tool }) = call.access() else {
            return Ok(None);
        };
        let declared: Vec<_> = declared.iter().filter(|argument| argument.is_of(tool)).collect();
        let Some(text) = call.arguments().filter(|_| !declared.is_empty()) else { return Ok(None) };
        let members = StrictMembers::read(text).map_err(|_| unreadable())?;
        let mut found = ArgumentCredentials { names: Vec::new(), shown: Credentials::default() };
        let (mut ends, mut is_cut) = (Vec::new(), Vec::new());
        for (key, raw) in members.iter() {
            ends.push(span_in(call.body(), raw.get()).ok_or_else(unreadable)?.end);
            let own: Vec<_> = declared.iter().filter(|argument| *argument.name == *key).collect();
            is_cut.push(!own.is_empty());
            let Some(first) = own.first() else {
                not_alike(key, &declared)?;
                continue;
            };
            let text = string(raw);
            let value = credential(key, text.as_deref())?;
            found.names.push(Arc::clone(&first.name));
            for argument in own {
                found.shown.add_argument(Arc::clone(&argument.policy), value.into(), argument.watched);
            }
        }
        if found.names.is_empty() {
            return Ok(None);
        }
        let opening = call.arguments.as_ref().map_or(0, |span| span.start + 1);
        Ok(Some(Self { spans: cuts(call.body(), opening, &ends, &is_cut), credentials: found }))
    }
}

/// The credential in the argument `name`.
fn credential<'a>(name: &str, text: Option<&'a str>) -> Result<&'a str, MessageFault> {
    match text {
        None => Err(bad(format!("the argument `{name}` must be a string"))),
        Some("") => Err(bad(format!("the argument `{name}` is empty"))),
        Some(text) if text.len() > MAX_LENGTH => Err(bad(format!("the argument `{name}` is too long"))),
        Some(text) => Ok(text),
    }
}

/// Refuses a name that a reader who ignores case takes for a declared one: the tool would get a credential.
fn not_alike(key: &str, declared: &[&CredentialArgument]) -> Result<(), MessageFault> {
    match declared.iter().find(|argument| folds_to(key, &argument.name)) {
        Some(argument) => Err(bad(format!("an argument differs from `{}` only in case", argument.name))),
        None => Ok(()),
    }
}

fn bad(what: impl Into<String>) -> MessageFault {
    MessageFault::BadCredential(what.into())
}

/// The arguments have been read before, so this does not happen. If it did, nothing would be forwarded.
fn unreadable() -> MessageFault {
    MessageFault::InvalidParams("the arguments cannot be read".to_owned())
}
