//! Compares a TOML document with the JSON Schema of its settings. It reports all unknown keys and wrong types at once,
//! each at its place, and returns the valid rest. So one invalid section never hides the faults of the others.

use std::net::SocketAddr;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::diagnostic::{Diagnostic, Part};
use super::document::Document;

/// Validates `document` against `schema`: returns the valid part, and the faults of the rest.
pub fn fit(document: &Document<'_>, schema: &Value) -> (Map<String, Value>, Vec<Diagnostic>) {
    let mut walk = ShapeWalk::new(document, schema, &[]);
    let fitted = walk.table(schema, document.root().get_ref());
    (fitted, walk.faults)
}

/// A value that the host reads or checks because of a `witgate-…` format in its schema.
pub(super) struct MarkedValue {
    /// The path of the setting.
    pub(super) path: Vec<String>,
    /// The format.
    pub(super) format: String,
    /// The value.
    pub(super) value: Value,
}

/// Validates the table at `path` of `document` against `schema`: returns the faults, and the marked values in it. A
/// missing table counts as empty.
pub(super) fn fit_at(
    document: &Document<'_>,
    path: &[&str],
    schema: &Value,
) -> (Vec<Diagnostic>, Vec<MarkedValue>) {
    let mut walk = ShapeWalk::new(document, schema, path);
    match document.value(path) {
        Some(value) if value.get_ref().is_table() => drop(walk.value(schema, value)),
        // It has the wrong type, which is already reported.
        Some(_) => {}
        None => drop(walk.complete_table(schema, &DeTable::new())),
    }
    (walk.faults, walk.marked)
}

struct ShapeWalk<'a, 't> {
    document: &'a Document<'t>,
    /// The whole schema, for `$ref`.
    root: &'a Value,
    path: Vec<String>,
    faults: Vec<Diagnostic>,
    marked: Vec<MarkedValue>,
}

impl<'a, 't> ShapeWalk<'a, 't> {
    fn new(document: &'a Document<'t>, root: &'a Value, path: &[&str]) -> Self {
        let path = path.iter().map(|step| (*step).to_owned()).collect();
        Self { document, root, path, faults: Vec::new(), marked: Vec::new() }
    }

    fn value(&mut self, schema: &'a Value, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let Some(schema) = self.choose(schema, value.get_ref()) else {
            self.mismatch(schema, value);
            return None;
        };
        let fitted = self.fitting(schema, value)?;
        if let Some(format) =
            schema.get("format").and_then(Value::as_str).filter(|f| f.starts_with("witgate-"))
        {
            let (path, format) = (self.path.clone(), format.to_owned());
            self.marked.push(MarkedValue { path, format, value: fitted.clone() });
        }
        Some(fitted)
    }

    fn fitting(&mut self, schema: &'a Value, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        match value.get_ref() {
            DeValue::Table(table) => self.complete_table(schema, table),
            DeValue::Array(items) => self.list(schema, items, value),
            DeValue::String(text) => self.text(schema, text, value),
            DeValue::Integer(number) => {
                let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
                self.number(schema, number, value)
            }
            DeValue::Float(number) => {
                let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
                if number.is_none() {
                    self.fault(value, "this number has no finite value", "write an ordinary number");
                }
                number.map(Value::Number)
            }
            DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
            DeValue::Datetime(time) => Some(Value::String(time.to_string())),
        }
    }

    /// The part of the schema for a value of this type, if there is one.
    fn choose(&self, schema: &'a Value, value: &DeValue<'_>) -> Option<&'a Value> {
        let schema = self.follow(schema);
        match choices(schema, "anyOf") {
            Some(choices) => choices.iter().find_map(|choice| self.choose(choice, value)),
            None => accepts(schema, value).then_some(schema),
        }
    }

    fn follow(&self, schema: &'a Value) -> &'a Value {
        let reference = schema.get("$ref").and_then(Value::as_str);
        let target = reference.and_then(|to| self.root.pointer(to.trim_start_matches('#')));
        target.unwrap_or(schema)
    }

    fn complete_table(&mut self, schema: &'a Value, table: &DeTable<'_>) -> Option<Value> {
        let fitted = self.table(schema, table);
        let required = choices(schema, "required").unwrap_or_default();
        let names: Vec<_> = required.iter().filter_map(Value::as_str).collect();
        for name in names.iter().filter(|name| !table.contains_key(**name)) {
            let message = format!("{} has no `{name}`", heading(&self.path));
            let help = format!("add `{name} = {}`", self.example(schema, name));
            let path: Vec<_> = self.path.iter().map(String::as_str).collect();
            self.faults.push(self.document.error(&path, message).help(help));
        }
        names.iter().all(|name| fitted.contains_key(*name)).then_some(Value::Object(fitted))
    }

    fn table(&mut self, schema: &'a Value, table: &DeTable<'_>) -> Map<String, Value> {
        let mut fitted = Map::new();
        for (key, value) in table {
            let name = key.get_ref();
            let Some(schema) = member(schema, name) else {
                self.unknown_key(schema, key);
                continue;
            };
            self.path.push(name.to_string());
            if let Some(value) = self.value(schema, value) {
                fitted.insert(name.to_string(), value);
            }
            self.path.pop();
        }
        fitted
    }

    fn list(
        &mut self,
        schema: &'a Value,
        items: &DeArray<'_>,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<Value> {
        let of = schema.get("items").unwrap_or(&Value::Bool(true));
        let mut fitted = Vec::new();
        for (index, item) in items.iter().enumerate() {
            self.path.push(index.to_string());
            fitted.extend(self.value(of, item));
            self.path.pop();
        }
        if items.is_empty() && schema.get("minItems").and_then(Value::as_u64).is_some_and(|least| least > 0) {
            self.fault(value, format!("`{}` is empty", dotted(&self.path)), "name at least one");
            return None;
        }
        Some(Value::Array(fitted))
    }

    fn text(&mut self, schema: &Value, text: &str, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let allowed = variants(schema);
        if !allowed.is_empty() && !allowed.contains(&text) {
            let help = nearest(text, allowed.iter().copied()).map_or_else(
                || format!("write one of {}", listed(&allowed)),
                |near| format!("did you mean `{near}`? It is one of {}", listed(&allowed)),
            );
            self.fault(value, format!("`{}` cannot be `{text}`", dotted(&self.path)), help);
            return None;
        }
        if is_address(schema) && text.parse::<SocketAddr>().is_err() {
            let message = format!("`{text}` is not an IP address with a port");
            self.fault(value, message, ADDRESSES);
            return None;
        }
        Some(Value::String(text.to_owned()))
    }

    fn number(&mut self, schema: &Value, number: Option<i64>, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
        let (least, most) = (bound("minimum").unwrap_or(i64::MIN), bound("maximum").unwrap_or(i64::MAX));
        let fitting = number.filter(|number| (least..=most).contains(number));
        if fitting.is_none() {
            let help = match most {
                i64::MAX => format!("write {least} or more"),
                _ => format!("write a number from {least} to {most}"),
            };
            self.fault(value, format!("`{}` is out of range", dotted(&self.path)), help);
        }
        fitting.map(Value::from)
    }

    fn mismatch(&mut self, schema: &'a Value, value: &Spanned<DeValue<'_>>) {
        let name = self.path.last().map_or("", String::as_str);
        if is_secret_source(self.follow(schema)) && value.get_ref().is_str() {
            let message = format!("a secret is in the file as plain text: `{}`", dotted(&self.path));
            let help = format!(
                "put it into an environment variable and write `{name} = {{ env = \"NAME\" }}`, or into a \
                 file and write `{name} = {{ file = \"PATH\" }}`"
            );
            return self.fault(value, message, help);
        }
        let expected = self.expected(schema);
        let found = type_name(value.get_ref());
        let message = format!("`{}` has to be {expected}, and this is {found}", dotted(&self.path));
        let help = match is_address(self.follow(schema)) {
            true => ADDRESSES.to_owned(),
            false => {
                wrapping_help(name, &expected, value.get_ref()).unwrap_or_else(|| format!("write {expected}"))
            }
        };
        self.fault(value, message, help);
    }

    fn expected(&self, schema: &'a Value) -> String {
        let schema = self.follow(schema);
        if let Some(choices) = choices(schema, "anyOf") {
            return choices.iter().map(|choice| self.expected(choice)).collect::<Vec<_>>().join(" or ");
        }
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or("string");
        match kind {
            "object" if member(schema, "env").is_some() => "`{ env = \"NAME\" }` or `{ file = \"PATH\" }`",
            "object" => "a table",
            "array" => "a list",
            "integer" => "a whole number",
            "number" => "a number",
            "boolean" => "`true` or `false`",
            _ if !variants(schema).is_empty() => return format!("one of {}", listed(&variants(schema))),
            _ => "a string",
        }
        .to_owned()
    }

    fn unknown_key(&mut self, schema: &'a Value, key: &Spanned<std::borrow::Cow<'_, str>>) {
        let name = key.get_ref();
        let known: Vec<_> = properties(schema).collect();
        let help = match nearest_key(name, &known) {
            None if name == "optional" && is_secret_source(schema) => MANDATORY.to_owned(),
            Some(near) => format!("did you mean `{near}`?"),
            None => match self.home(name) {
                Some(home) => format!("`{name}` belongs under {home}"),
                None => format!("known here: {}", listed(&known)),
            },
        };
        let message = format!("unknown key `{name}` {}", location(&self.path));
        let fault = self.document.error_at(key.span(), message).label("not known here").help(help);
        // A misspelled name of a table is a fault of the whole configuration.
        self.faults.push(fault.in_part(Part::of(&self.path)));
    }

    /// The section that has a setting `name`.
    fn home(&self, name: &str) -> Option<String> {
        let sections = [
            ("server", "`[server]`"),
            ("pipeline", "`[pipeline]`"),
            ("upstreams", "`[upstreams.NAME]`"),
            ("policies", "`[policies.NAME]`"),
        ];
        let knows = |section: &str| {
            let section = self.follow(member(self.root, section)?);
            let inner = section.get("additionalProperties").filter(|inner| inner.is_object());
            member(inner.map_or(section, |inner| self.follow(inner)), name)
        };
        let is_root = member(self.root, name).is_some();
        let found = sections.into_iter().find(|(section, _)| knows(section).is_some());
        is_root.then(|| "the top level of the file".to_owned()).or(found.map(|(_, title)| title.to_owned()))
    }

    fn example(&self, schema: &'a Value, name: &str) -> String {
        let allowed =
            member(schema, name).map(|property| variants(self.follow(property))).unwrap_or_default();
        match allowed.as_slice() {
            [] => "…".to_owned(),
            [first, ..] => {
                format!("\"{first}\"`, or one of {}", listed(&allowed)).trim_end_matches('`').to_owned()
            }
        }
    }

    fn fault(&mut self, value: &Spanned<DeValue<'_>>, message: impl Into<String>, help: impl Into<String>) {
        let path: Vec<_> = self.path.iter().map(String::as_str).collect();
        // The key of a table is a better place than all of its lines.
        let fault = match value.get_ref() {
            DeValue::Table(_) => self.document.error(&path, message),
            _ => self.document.error_at(value.span(), message).in_part(Part::of(&self.path)),
        };
        self.faults.push(fault.help(help));
    }
}

fn accepts(schema: &Value, value: &DeValue<'_>) -> bool {
    let Some(kind) = schema.get("type").and_then(Value::as_str) else {
        return schema.as_bool() != Some(false);
    };
    match value {
        DeValue::String(_) => kind == "string",
        DeValue::Integer(_) => matches!(kind, "integer" | "number"),
        DeValue::Float(_) => kind == "number",
        DeValue::Boolean(_) => kind == "boolean",
        DeValue::Datetime(_) => false,
        DeValue::Array(_) => kind == "array",
        DeValue::Table(_) => kind == "object",
    }
}

fn choices<'a>(schema: &'a Value, name: &str) -> Option<&'a [Value]> {
    schema.get(name).and_then(Value::as_array).map(Vec::as_slice)
}

/// The schema of a table's member. None: there is no such member.
fn member<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let own = schema.get("properties").and_then(|properties| properties.get(name));
    own.or_else(|| match schema.get("additionalProperties") {
        Some(Value::Bool(false)) => None,
        Some(schema) => Some(schema),
        None if schema.get("properties").is_some() => None,
        None => Some(&Value::Bool(true)),
    })
}

fn properties(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str())
}

/// The texts that an enumeration permits. Empty if any text is permitted.
fn variants(schema: &Value) -> Vec<&str> {
    let plain = choices(schema, "enum").unwrap_or_default().iter();
    let described = choices(schema, "oneOf").unwrap_or_default().iter();
    let described = described.flat_map(|choice| {
        choice.get("const").into_iter().chain(choices(choice, "enum").unwrap_or_default())
    });
    plain.chain(described).filter_map(Value::as_str).collect()
}

const MANDATORY: &str = "only secrets in `headers` and `env` of an upstream can be optional; without this one, \
                         nothing could be checked";

const ADDRESSES: &str = "write one such as `127.0.0.1:8787`, `0.0.0.0:8787` or `[::1]:8787`";

fn is_address(schema: &Value) -> bool {
    schema.get("format").is_some_and(|format| format == "socket-address")
}

fn is_secret_source(schema: &Value) -> bool {
    schema.get("format").is_some_and(|format| format == "witgate-secret")
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Advice for the commonest mistake: the right value in the wrong form.
fn wrapping_help(name: &str, expected: &str, value: &DeValue<'_>) -> Option<String> {
    match (expected, value) {
        ("a list", DeValue::String(_)) if name == "command" => {
            Some("write program and arguments as a list: `command = [\"program\", \"argument\"]`".to_owned())
        }
        ("a list", DeValue::String(_)) => Some(format!("put it into brackets: `{name} = [\"…\"]`")),
        ("a whole number", DeValue::String(_)) => Some("write the number without quotes".to_owned()),
        ("`true` or `false`", DeValue::String(_)) => {
            Some("write `true` or `false` without quotes".to_owned())
        }
        _ => None,
    }
}

/// The known name that is most similar to `name`, if it is similar enough for a suggestion.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    let distance = |other: &str| strsim::damerau_levenshtein(&lower, &other.to_ascii_lowercase());
    let bound = (name.chars().count() / 3).max(1);
    known.map(|other| (distance(other), other)).filter(|(far, _)| *far <= bound).min().map(|(_, other)| other)
}

fn nearest_key<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    // Names that other programs use for the same setting.
    const SYNONYMS: [(&str, &str); 14] = [
        ("type", "kind"),
        ("cmd", "command"),
        ("args", "command"),
        ("port", "listen"),
        ("host", "listen"),
        ("address", "listen"),
        ("bind", "listen"),
        ("endpoint", "url"),
        ("uri", "url"),
        ("wasm", "component"),
        ("settings", "config"),
        ("timeout", "timeout_ms"),
        ("memory", "memory_mib"),
        ("sha256", "digest"),
    ];
    let synonym = || {
        let (_, meant) = SYNONYMS.iter().find(|(other, meant)| *other == name && known.contains(meant))?;
        Some(*meant)
    };
    synonym().or_else(|| nearest(name, known.iter().copied()))
}

/// "`a`, `b` and `c`".
pub fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => "nothing".to_owned(),
    }
}

fn dotted(path: &[String]) -> String {
    path.join(".")
}

fn heading(path: &[String]) -> String {
    format!("`[{}]`", dotted(path))
}

fn location(path: &[String]) -> String {
    match path {
        [] => "at the top level".to_owned(),
        _ => format!("in {}", heading(path)),
    }
}
