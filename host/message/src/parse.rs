//! The strict parse: bytes → [`Call`]. A message that a lenient reader behind Witgate could understand in another way
//! is refused or changed (`nulls`), so that both see the same call.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;
use serde_json::value::RawValue;
use witgate_plugin::TargetKind;

use super::call::{Access, Call, LONGEST_ID, LONGEST_METHOD, MOST_TARGETS, MessageKind, Span, Target};
use super::fault::{MessageFault, ParseError};
use super::method::{self, ENVELOPE, META, MethodEras, MethodForm, MethodShape, PARAMS};
use super::names::{self, NameFault};
use super::nulls;
use super::strict_json::{self, StrictCheck, StrictMembers, StrictMessage, category, string};

#[cfg(test)]
mod tests;

impl Call {
    /// Parses one JSON-RPC 2.0 message.
    ///
    /// # Errors
    /// `Parse` if the body is not strict JSON (RFC 8259 and RFC 7493 §2: UTF-8, no duplicate key even in another case,
    /// no lone surrogates, no number that a double rounds); `InvalidRequest` if it is not one JSON-RPC message of MCP;
    /// `InvalidParams` if a known method does not have its form; `UnknownMethod` if the message's revision has removed
    /// the method.
    pub fn parse(body: Bytes) -> Result<Self, ParseError> {
        let nameless = |malformed| ParseError { id: None, malformed };
        let text = std::str::from_utf8(&body).map_err(|_| nameless(parse("it is not UTF-8")))?;
        let (envelope, params) = Envelope::read(text).map_err(nameless)?;
        if let Some(rest) = params.as_ref().and_then(|params| nulls::dropped(text, &envelope.members, params))
        {
            return Self::parse(rest);
        }
        let named = |malformed| ParseError { id: envelope.id.map(|id| id.get().into()), malformed };
        read(&body, text, &envelope, params).map_err(named)
    }
}

/// The envelope without `params`. Only its members of JSON-RPC are read.
struct Envelope<'a> {
    members: StrictMembers<'a>,
    id: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    fn read(text: &'a str) -> Result<(Self, Option<strict_json::StrictParams<'a>>), MessageFault> {
        if text.trim_start().starts_with('[') {
            return Err(invalid("batches are not accepted: send one message at a time"));
        }
        let StrictMessage { envelope: members, params } =
            serde_json::from_str(text).map_err(|error| parse(category(&error)))?;
        refuse_look_alikes(&members, ENVELOPE).map_err(invalid_owned)?;
        let id = members.get("id");
        if let Some(id) = id
            && !is_id(id)
        {
            return Err(invalid("id must be a string or an integer"));
        }
        if id.is_some_and(is_long) {
            return Err(invalid("id is longer than 1,024 bytes"));
        }
        Ok((Self { members, id }, params))
    }
}

/// Reads a checked envelope.
fn read<'a>(
    body: &Bytes,
    text: &'a str,
    envelope: &Envelope<'a>,
    params: Option<strict_json::StrictParams<'a>>,
) -> Result<Call, MessageFault> {
    let members = &envelope.members;
    if members.get("jsonrpc").is_none_or(|version| version.get() != "\"2.0\"") {
        return Err(invalid("jsonrpc must be \"2.0\""));
    }
    refuse_auth(members)?;
    let mut strict = StrictCheck::default();
    strict.check_keys(members).map_err(parse)?;
    for (key, value) in &members.0 {
        check(&mut strict, key, value, 1)?;
    }
    let answers = (members.get("result").is_some(), members.get("error").is_some());
    match (members.get("method"), answers) {
        (Some(method), (false, false)) => {
            let method = string(method).ok_or_else(|| invalid("method must be a string"))?;
            if method.len() > LONGEST_METHOD {
                return Err(invalid("method is longer than 256 bytes"));
            }
            let params = Params::check(params, &mut strict)?;
            message(body, text, envelope, &method, &params, &mut strict)
        }
        (None, (true, false) | (false, true)) if params.is_none() => response(body, text, envelope),
        _ => Err(invalid("a message has exactly one of method, result and error")),
    }
}

/// Members that are ids in the protocol. No policy calculates with an id.
const IDS: &[&str] = &["id", "requestId", "progressToken"];

fn check<'a>(
    strict: &mut StrictCheck<'a>,
    key: &str,
    value: &'a RawValue,
    depth: usize,
) -> Result<(), MessageFault> {
    match IDS.contains(&key) {
        true => strict.check_id(value, depth),
        false => strict.check(value, depth),
    }
    .map_err(parse)
}

/// An answer to a request of the server.
fn response(body: &Bytes, text: &str, envelope: &Envelope<'_>) -> Result<Call, MessageFault> {
    let id = envelope.id.ok_or_else(|| invalid("an answer needs the id of its request"))?;
    Ok(Call {
        body: body.clone(),
        kind: MessageKind::Response { id: span(text, id) },
        method: Box::default(),
        access: Access::Open,
        arguments: None,
        meta: None,
        progress_token: None,
        meta_version: None,
        meta_capabilities: false,
        tasks: Vec::new(),
        may_start_task: false,
        declares_tasks: false,
    })
}

/// A request or a notification.
fn message<'a>(
    body: &Bytes,
    text: &'a str,
    envelope: &Envelope<'a>,
    name: &str,
    params: &Params<'a>,
    strict: &mut StrictCheck<'a>,
) -> Result<Call, MessageFault> {
    let meta = Meta::read(params.get("_meta"), strict)?;
    let known = method::find(name);
    if meta.version.is_some() && known.is_some_and(|method| method.eras == MethodEras::Stateful) {
        return Err(MessageFault::UnknownMethod(name.to_owned()));
    }
    let kind = match envelope.id {
        Some(id) => MessageKind::Request { id: span(text, id) },
        None => MessageKind::Notification,
    };
    check_form(known, &kind)?;
    let acts = Acts::read(name, known.map(|method| method.shape), params)?;
    Ok(Call {
        body: body.clone(),
        kind,
        method: name.into(),
        access: acts.access,
        arguments: params.object("arguments", known.is_some())?.map(|raw| span(text, raw)),
        meta: params.get("_meta").map(|raw| span(text, raw)),
        progress_token: meta.progress_token.map(|raw| span(text, raw)),
        meta_capabilities: meta.capabilities.is_some(),
        may_start_task: name == "tools/call" && (params.get("task").is_some() || meta.names_tasks()),
        declares_tasks: !acts.tasks.is_empty() && meta.names_tasks(),
        tasks: acts.tasks,
        meta_version: meta.version,
    })
}

/// A known method in the other form (request or notification) is refused, because it would count as an unknown method.
fn check_form(known: Option<method::ProtocolMethod>, kind: &MessageKind) -> Result<(), MessageFault> {
    match (known.map(|method| method.form), kind) {
        (Some(MethodForm::Request), MessageKind::Notification) => Err(invalid("this method needs an id")),
        (Some(MethodForm::Notification), MessageKind::Request { .. }) => {
            Err(invalid("a notification has no id"))
        }
        _ => Ok(()),
    }
}

/// The members of `params`, checked at all depths except `_meta`.
struct Params<'a>(Option<StrictMembers<'a>>);

impl<'a> Params<'a> {
    fn check(
        params: Option<strict_json::StrictParams<'a>>,
        strict: &mut StrictCheck<'a>,
    ) -> Result<Self, MessageFault> {
        let members = match params {
            None => return Ok(Self(None)),
            Some(strict_json::StrictParams::Null | strict_json::StrictParams::Other) => {
                return Err(bad("params must be an object"));
            }
            Some(strict_json::StrictParams::Object(members)) => members,
        };
        refuse_look_alikes(&members, PARAMS).map_err(invalid_owned)?;
        refuse_auth(&members)?;
        strict.check_keys(&members).map_err(parse)?;
        for (key, value) in members.0.iter().filter(|(key, _)| key != "_meta") {
            check(strict, key, value, 2)?;
        }
        Ok(Self(Some(members)))
    }

    fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.as_ref()?.get(key)
    }

    /// A required string.
    fn string(&self, key: &str) -> Result<Box<str>, MessageFault> {
        let value = self.get(key).and_then(string);
        value.map(Cow::into).ok_or_else(|| bad(format!("params.{key} must be a string")))
    }

    /// An optional object; `shaped` if the method requires an object.
    fn object(&self, key: &str, shaped: bool) -> Result<Option<&'a RawValue>, MessageFault> {
        match self.get(key) {
            Some(value) if shaped && !value.get().starts_with('{') => {
                Err(bad(format!("params.{key} must be an object")))
            }
            value => Ok(value),
        }
    }
}

/// The members of `_meta` that Witgate reads.
#[derive(Default)]
struct Meta<'a> {
    progress_token: Option<&'a RawValue>,
    version: Option<Box<str>>,
    capabilities: Option<&'a RawValue>,
}

impl<'a> Meta<'a> {
    /// Reads `_meta`, and checks it at all depths.
    fn read(raw: Option<&'a RawValue>, strict: &mut StrictCheck<'a>) -> Result<Self, MessageFault> {
        let Some(raw) = raw else { return Ok(Self::default()) };
        if !raw.get().starts_with('{') {
            return Err(bad("params._meta must be an object"));
        }
        let members = StrictMembers::read(raw.get()).map_err(|error| parse(category(&error)))?;
        refuse_look_alikes(&members, META).map_err(invalid_owned)?;
        strict.check_keys(&members).map_err(parse)?;
        for (key, value) in &members.0 {
            check(strict, key, value, 3)?;
        }
        let progress_token = members.get("progressToken");
        if progress_token.is_some_and(|token| !is_id(token)) {
            return Err(bad("the progress token must be a string or an integer"));
        }
        if progress_token.is_some_and(is_long) {
            return Err(bad("the progress token is longer than 1,024 bytes"));
        }
        let capabilities = members.get(method::META_CAPABILITIES);
        if capabilities.is_some_and(|value| !value.get().starts_with('{')) {
            return Err(bad("the client capabilities in _meta must be an object"));
        }
        let version = members
            .get(method::META_VERSION)
            .map(|value| string(value).ok_or_else(|| bad("the protocol version in _meta must be a string")));
        Ok(Self { progress_token, version: version.transpose()?.map(Cow::into), capabilities })
    }

    /// True if the client may have declared the tasks extension. A wrong `true` only means that the answer is read.
    fn names_tasks(&self) -> bool {
        self.capabilities.is_some_and(|raw| raw.get().contains("tasks") || raw.get().contains("\\u"))
    }
}

/// The targets of a message.
struct Acts {
    access: Access,
    tasks: Vec<Box<str>>,
}

impl Acts {
    fn read(name: &str, shape: Option<MethodShape>, params: &Params<'_>) -> Result<Self, MessageFault> {
        let access = match shape {
            Some(MethodShape::Open) => Access::Open,
            Some(MethodShape::OpenWith(member)) => {
                params.string(member)?;
                Access::Open
            }
            Some(MethodShape::List) => {
                params.get("cursor").map(|_| params.string("cursor")).transpose()?;
                Access::Open
            }
            Some(MethodShape::Named(kind, member)) => {
                let name = params.string(member)?;
                names::check(kind, &name).map_err(|fault| misnamed(&format!("params.{member}"), fault))?;
                Access::Target(Target { kind, name })
            }
            Some(MethodShape::Reference) => Access::Target(reference(params)?),
            Some(MethodShape::Subscriptions) => return subscriptions(params),
            Some(MethodShape::Task) => {
                let tasks = vec![params.string("taskId")?];
                return Ok(Self { access: Access::Open, tasks });
            }
            None => {
                names::check(TargetKind::Method, name).map_err(|fault| misnamed("method", fault))?;
                Access::Target(Target { kind: TargetKind::Method, name: name.into() })
            }
        };
        Ok(Self { access, tasks: Vec::new() })
    }
}

/// `completion/complete`: the prompt or resource that `ref` names.
fn reference(params: &Params<'_>) -> Result<Target, MessageFault> {
    let wrong = || bad("params.ref must name a prompt or a resource");
    let raw = params.get("ref").ok_or_else(wrong)?;
    let members = StrictMembers::read(raw.get()).map_err(|_| wrong())?;
    refuse_look_alikes(&members, PARAMS).map_err(invalid_owned)?;
    let (kind, member) = match members.get("type").and_then(string).as_deref() {
        Some("ref/prompt") => (TargetKind::Prompt, "name"),
        Some("ref/resource") => (TargetKind::Resource, "uri"),
        _ => return Err(wrong()),
    };
    let name = members.get(member).and_then(string).ok_or_else(wrong)?;
    let checked = match kind {
        TargetKind::Resource => names::check_template(&name),
        _ => names::check(kind, &name),
    };
    checked.map_err(|fault| misnamed(&format!("params.ref.{member}"), fault))?;
    Ok(Target { kind, name: name.into() })
}

/// `subscriptions/listen`: the resources and tasks to subscribe to. Every caller may subscribe to changes of lists.
fn subscriptions(params: &Params<'_>) -> Result<Acts, MessageFault> {
    let wrong = || bad("params.notifications must be an object");
    let raw = params.get("notifications").ok_or_else(wrong)?;
    let members = StrictMembers::read(raw.get()).map_err(|_| wrong())?;
    refuse_look_alikes(&members, PARAMS).map_err(invalid_owned)?;
    let resources = strings(&members, "resourceSubscriptions")?;
    if resources.len() > MOST_TARGETS {
        return Err(bad("params.notifications.resourceSubscriptions has more than 1,000 resources"));
    }
    let member = "params.notifications.resourceSubscriptions";
    let target = |name: Box<str>| match names::check_uri(&name) {
        Ok(()) => Ok(Target { kind: TargetKind::Resource, name }),
        Err(fault) => Err(misnamed(member, fault)),
    };
    let targets: Vec<_> = resources.into_iter().map(target).collect::<Result<_, _>>()?;
    let access = if targets.is_empty() { Access::Open } else { Access::Targets(targets) };
    Ok(Acts { access, tasks: subscribed_tasks(&members)? })
}

/// The tasks to subscribe to, each of them once.
fn subscribed_tasks(members: &StrictMembers<'_>) -> Result<Vec<Box<str>>, MessageFault> {
    let mut tasks = strings(members, "taskIds")?;
    if tasks.len() > MOST_TARGETS {
        return Err(bad("params.notifications.taskIds has more than 1,000 tasks"));
    }
    let mut known = HashSet::new();
    tasks.retain(|task| known.insert(task.clone()));
    Ok(tasks)
}

fn strings(members: &StrictMembers<'_>, key: &str) -> Result<Vec<Box<str>>, MessageFault> {
    let Some(raw) = members.get(key) else { return Ok(Vec::new()) };
    serde_json::from_str(raw.get())
        .map_err(|_| bad(format!("params.notifications.{key} must be an array of strings")))
}

/// Refuses keys that a reader who ignores case would read as one of `names`. Go's reader does so, and also folds two
/// letters of Unicode into ASCII.
fn refuse_look_alikes(members: &StrictMembers<'_>, names: &[&str]) -> Result<(), String> {
    for (key, _) in &members.0 {
        // Folding keeps the length of ASCII texts, and nearly every key is ASCII.
        let is_ascii = key.is_ascii();
        let could_be = |name: &&&str| name.len() == key.len() || !is_ascii;
        let alike = |name: &&&str| could_be(name) && **name != key && folds_to(key, name);
        if let Some(name) = names.iter().find(alike) {
            return Err(format!("a member differs from {name} only in case"));
        }
    }
    Ok(())
}

/// Refuses an object `auth` in a message or its `params`. Some servers read credentials there, which no version of MCP
/// does. An upstream would get them.
fn refuse_auth(members: &StrictMembers<'_>) -> Result<(), MessageFault> {
    let mut objects = members.iter().filter(|(_, value)| value.get().starts_with('{'));
    match objects.any(|(key, _)| folds_to(key, "auth")) {
        true => Err(MessageFault::BadCredential(AUTH.to_owned())),
        false => Ok(()),
    }
}

const AUTH: &str = "credentials in `auth` are not read: send the header Authorization: Bearer, or your API key in its header; over stdio, set MCP_API_KEY or MCP_BEARER_TOKEN";

/// True if a reader that ignores case reads `key` as `name`.
pub fn folds_to(key: &str, name: &str) -> bool {
    if key.is_ascii() {
        return key.eq_ignore_ascii_case(name);
    }
    key.chars().map(fold).eq(name.chars().map(fold))
}

fn fold(c: char) -> char {
    match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    }
}

/// True if an id is longer than permitted. An id is compared with all open ones.
fn is_long(id: &RawValue) -> bool {
    id.get().len() > LONGEST_ID
}

/// A string or an integer (MCP "Requests": never null; JSON-RPC 2.0 §4: no fractions).
fn is_id(raw: &RawValue) -> bool {
    let text = raw.get();
    text.starts_with('"') || text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok()
}

/// The position of a value in the text that it was read from.
fn span(text: &str, raw: &RawValue) -> Span {
    let start = raw.get().as_ptr().addr().wrapping_sub(text.as_ptr().addr());
    start..start + raw.get().len()
}

fn parse(what: impl Into<Cow<'static, str>>) -> MessageFault {
    MessageFault::Parse(what.into().into_owned())
}

fn invalid(what: &str) -> MessageFault {
    MessageFault::InvalidRequest(what.to_owned())
}

fn invalid_owned(what: String) -> MessageFault {
    MessageFault::InvalidRequest(what)
}

/// The error for a name that readers could understand differently.
fn misnamed(member: &str, fault: NameFault) -> MessageFault {
    bad(format!("{member} {fault}"))
}

fn bad(what: impl Into<String>) -> MessageFault {
    MessageFault::InvalidParams(what.into())
}
