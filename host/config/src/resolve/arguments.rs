//! `argument` of `[policies.NAME]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use witgate_plugin::Pattern;

use super::resolver::Resolver;
use crate::{
    ArgumentSchema, ArgumentSettings, InjectedValue, Mode, Policy, PolicyKind, Upstream, UpstreamTarget, raw,
};

/// The longest name of an argument, in bytes.
const LONGEST_NAME: usize = 128;

const PATTERNS: &str = "write the name of a tool, or a pattern such as `get_*`";

impl From<raw::ArgumentSchema> for ArgumentSchema {
    fn from(schema: raw::ArgumentSchema) -> Self {
        match schema {
            raw::ArgumentSchema::Auto => Self::Auto,
            raw::ArgumentSchema::Show => Self::Show,
            raw::ArgumentSchema::Hide => Self::Hide,
            raw::ArgumentSchema::Keep => Self::Keep,
        }
    }
}

impl Resolver<'_> {
    /// The argument of tools that contains the credential of the policy `name`.
    pub(super) fn argument(
        &mut self,
        name: &str,
        kind: PolicyKind,
        written: Option<&raw::Argument>,
    ) -> Option<ArgumentSettings> {
        let at = ["policies", name, "argument"];
        if !matches!(
            kind,
            PolicyKind::ApiKey | PolicyKind::Jwt | PolicyKind::Introspection | PolicyKind::Custom
        ) && self.document.has(&at)
        {
            let message =
                format!("a policy of the kind `{}` judges no credentials in arguments", kind.name());
            self.error(&at, message, "leave `argument` out");
        }
        let (name_at, argument, on, schema, inject) = match written? {
            raw::Argument::Name(argument) => (at.to_vec(), argument, None, None, None),
            raw::Argument::Settings(settings) => {
                let raw::ArgumentSettings { name, on, schema, inject } = &**settings;
                ([at.as_slice(), &["name"]].concat(), name, on.as_ref(), *schema, inject.as_ref())
            }
        };
        if argument.is_empty() || argument.len() > LONGEST_NAME || argument.chars().any(char::is_control) {
            let message = format!("`{}` cannot be the name of an argument", argument.escape_debug());
            self.error(&name_at, message, "write the name of an argument, such as `auth_token`");
        }
        Some(ArgumentSettings {
            name: argument.as_str().into(),
            on: self.tools_of(&at, on),
            on_texts: on.map_or_else(|| vec!["*".to_owned()], Clone::clone).into(),
            schema: schema.map(ArgumentSchema::from).unwrap_or_default(),
            inject: inject.and_then(|source| {
                let at = [at.as_slice(), &["inject"]].concat();
                self.endless_secret(&at, source).map(InjectedValue::from)
            }),
        })
    }

    /// Checks that a server gets one value of an argument, although several policies have it.
    pub(super) fn injects_one_value(&mut self, written: &raw::Pipeline, policies: &BTreeMap<String, Policy>) {
        let authenticators = written.authenticate.iter().flatten().filter_map(|name| policies.get(name));
        let mut values: BTreeMap<&str, (&str, &InjectedValue)> = BTreeMap::new();
        for policy in authenticators {
            let Some(argument) = &policy.argument else { continue };
            let Some(value) = &argument.inject else { continue };
            let (other, first) = *values.entry(&argument.name).or_insert((&policy.name, value));
            if first != value {
                let at = ["policies", &policy.name, "argument", "inject"];
                let message = format!(
                    "the server would get another value of `{}` than that of `{other}`",
                    argument.name
                );
                self.error(&at, message, "write the same secret in both policies");
            }
        }
    }

    /// The patterns in `on`, which are those of `rbac`, for tools only.
    fn tools_of(&mut self, at: &[&str; 3], on: Option<&Vec<String>>) -> Arc<[Pattern]> {
        let Some(texts) = on else { return "*".parse().into_iter().collect() };
        let at = [at.as_slice(), &["on"]].concat();
        if self.document.is_empty_list(&at) {
            let help = "name tools, or leave `on` out for all tools";
            self.error(&at, "no tool has the argument: `on` is empty", help);
        }
        self.tool_patterns(&at, texts).into()
    }

    /// Refuses to send the server's own values over a network that could read them.
    pub(super) fn injects_in_private(&mut self, upstreams: &[Upstream], policies: &BTreeMap<String, Policy>) {
        for upstream in upstreams {
            let (UpstreamTarget::Url { url, .. } | UpstreamTarget::Sse { url, .. }) = &upstream.target else {
                continue;
            };
            let authenticators =
                upstream.pipeline.authenticate.iter().filter_map(|name| policies.get(name.as_str()));
            let injects =
                |policy: &&Policy| policy.argument.as_ref().is_some_and(|argument| argument.inject.is_some());
            if authenticators.into_iter().any(|policy| injects(&policy)) {
                self.no_secrets_in_clear(&["upstreams", &upstream.name, "url"], url);
            }
        }
    }

    /// The tools in `anonymous.lists` of the pipeline at `at`.
    pub(super) fn shown_to_anonymous(
        &mut self,
        at: &[&str],
        written: &raw::Pipeline,
        policies: &BTreeMap<String, Policy>,
    ) -> Vec<Pattern> {
        let authenticators = written.authenticate.iter().flatten().filter_map(|name| policies.get(name));
        let mut declaring = authenticators.filter(|policy| policy.argument.is_some()).peekable();
        let lists =
            written.anonymous.as_ref().map(|anonymous| anonymous.lists.as_slice()).unwrap_or_default();
        match declaring.peek() {
            None if !lists.is_empty() => {
                let help = "write `argument` in one of its `authenticate` policies, or leave `lists` out";
                let message =
                    "no policy of this pipeline has an `argument`: a call could not show a credential";
                self.error(&[at, &["anonymous", "lists"]].concat(), message, help);
            }
            Some(policy) if written.anonymous.is_none() && policy.mode == Mode::Enforce => {
                let message = format!(
                    "clients that only have the argument of `{}` cannot connect: a handshake has no arguments",
                    policy.name
                );
                let help =
                    "add `anonymous = { lists = [\"*\"] }` to the pipeline, which shows its tools to them";
                self.warning(&[at, &["authenticate"]].concat(), message, help);
            }
            _ => {}
        }
        self.tool_patterns(&[at, &["anonymous", "lists"]].concat(), lists)
    }

    fn tool_patterns(&mut self, at: &[&str], texts: &[String]) -> Vec<Pattern> {
        let mut patterns = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let index = index.to_string();
            let at = [at, &[index.as_str()]].concat();
            match text.parse::<Pattern>() {
                Ok(_) if is_of_others(text) => {
                    self.error(&at, format!("`{text}` is no pattern of tools"), PATTERNS);
                }
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.error(&at, format!("`{text}` is no pattern of tools: {error}"), PATTERNS),
            }
        }
        patterns
    }
}

/// True if the pattern is of resources, prompts or methods.
fn is_of_others(text: &str) -> bool {
    ["resource:", "prompt:", "method:"].iter().any(|prefix| text.starts_with(prefix))
}
