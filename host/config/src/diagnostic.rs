//! Configuration errors for people: the place, the fault, and what to do.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity, SourceCode};

use witgate_base::cause::Cause;
use witgate_base::printable::{clean, is_plain};

/// One fault or one warning.
#[derive(Clone)]
#[must_use]
pub struct Diagnostic {
    severity: Severity,
    message: String,
    place: Option<SourcePlace>,
    help: Option<String>,
    cause: Cause,
    part: Option<Box<Part>>,
}

/// A part of a configuration that can be broken while the rest is used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `[policies.NAME]`.
    Policy(String),
    /// `[keys.NAME]`.
    Key(String),
    /// `[upstreams.NAME]`, apart from its pipeline.
    Upstream(String),
    /// `[upstreams.NAME.pipeline]`.
    Pipeline(String),
    /// `[credentials.NAME]`.
    Credential(String),
    /// `[network]`.
    Network,
}

impl Part {
    /// The part that a setting belongs to. None: the whole configuration depends on it.
    pub fn of(path: &[impl AsRef<str>]) -> Option<Self> {
        let step = |place: usize| path.get(place).map(AsRef::as_ref);
        let name = step(1)?.to_owned();
        match (step(0)?, step(2)) {
            ("policies", _) => Some(Self::Policy(name)),
            ("keys", _) => Some(Self::Key(name)),
            ("upstreams", Some("pipeline")) => Some(Self::Pipeline(name)),
            ("upstreams", _) => Some(Self::Upstream(name)),
            ("credentials", _) => Some(Self::Credential(name)),
            ("network", _) => Some(Self::Network),
            _ => None,
        }
    }
}

#[derive(Clone)]
struct SourcePlace {
    source: Arc<SourceText>,
    span: Range<usize>,
    label: Option<String>,
}

/// A text that diagnostics quote. Possible secrets and invisible characters are masked in it.
pub struct SourceText {
    name: String,
    text: NamedSource<String>,
}

impl SourceText {
    /// A text with this name.
    pub fn new(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: NamedSource::new(name, without_hidden(&mask(text))) }
    }

    /// Line and column, both from 1, of a byte offset.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.inner().get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }
}

impl Diagnostic {
    /// A fault that makes the configuration unusable.
    pub fn error(message: impl Into<String>) -> Self {
        let (message, cause) = (clean(&message.into()), Cause::Content);
        Self { severity: Severity::Error, message, place: None, help: None, cause, part: None }
    }

    /// A setting that is probably a mistake.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// The same as a warning.
    pub(crate) fn into_warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// Sets the place in a text.
    pub fn at(mut self, source: &Arc<SourceText>, span: Range<usize>) -> Self {
        self.place = Some(SourcePlace { source: Arc::clone(source), span, label: None });
        self
    }

    /// Sets the text at the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        if let Some(place) = &mut self.place {
            place.label = Some(clean(&label.into()));
        }
        self
    }

    /// Sets the advice, which may have several lines.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into().lines().map(clean).collect::<Vec<_>>().join("\n"));
        self
    }

    /// Sets the cause of the fault, if it is not the text.
    pub fn because_of(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// Sets the only part of the configuration that the fault concerns.
    pub(crate) fn in_part(mut self, part: Option<Part>) -> Self {
        self.part = part.map(Box::new);
        self
    }

    /// The only part of the configuration that the fault concerns. None: all of it.
    pub fn part(&self) -> Option<&Part> {
        self.part.as_deref()
    }

    /// True if the fault may pass by itself.
    pub fn may_pass(&self) -> bool {
        self.cause.may_pass()
    }

    /// True if the fault makes the configuration unusable.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The message, without place and advice.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The position in the file, as line and column from 1.
    pub fn position(&self) -> Option<(usize, usize)> {
        self.place.as_ref().map(|place| place.source.position(place.span.start))
    }

    /// The name of the file, and the line from 1.
    pub fn place(&self) -> Option<(&str, usize)> {
        let name = self.place.as_ref().map(|place| place.source.name.as_str());
        name.zip(self.position().map(|(line, _)| line))
    }

    /// The advice.
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The position in the file, in bytes.
    pub fn span(&self) -> Option<Range<usize>> {
        self.place.as_ref().map(|place| place.span.clone())
    }

    /// The diagnostic as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "severity": if self.is_error() { "error" } else { "warning" },
            "message": self.message,
            "file": self.place.as_ref().map(|place| &place.source.name),
            "line": self.position().map(|(line, _)| line),
            "column": self.position().map(|(_, column)| column),
            "help": self.help,
        })
    }
}

/// On one line, for a log: `witgate.toml:3:1: unknown key …`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(place), Some((line, column))) = (&self.place, self.position()) {
            write!(f, "{}:{line}:{column}: ", place.source.name)?;
        }
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({})", help.replace('\n', " ")))
    }
}

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Diagnostic {}

/// The form for miette, with the message separate from its place and help.
struct DiagnosticReport<'a>(&'a Diagnostic);

impl fmt::Display for DiagnosticReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for DiagnosticReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for DiagnosticReport<'_> {}

impl miette::Diagnostic for DiagnosticReport<'_> {
    fn severity(&self) -> Option<Severity> {
        Some(self.0.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0.place.as_ref().map(|place| &place.source.text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.0.place.as_ref()?;
        let span = LabeledSpan::new(place.label.clone(), place.span.start, place.span.len());
        Some(Box::new(std::iter::once(span)))
    }
}

/// The drawing style of diagnostics.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// With colours, for a terminal.
    pub color: bool,
    /// The maximum width in columns.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { color: false, width: 100 }
    }
}

/// Draws diagnostics, one below the other.
pub fn render(diagnostics: &[Diagnostic], style: Style) -> String {
    let theme = if style.color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_links(false)
        .with_context_lines(1)
        .with_width(style.width);
    let draw = |diagnostic| {
        let mut text = String::new();
        // Writing to a string fails only if the diagnostic's own text fails.
        match handler.render_report(&mut text, &DiagnosticReport(diagnostic)) {
            Ok(()) => text.trim_start_matches('\n').to_owned(),
            Err(fmt::Error) => format!("{diagnostic}\n"),
        }
    };
    diagnostics.iter().map(draw).collect::<Vec<_>>().join("\n")
}

/// True if a setting of this name usually contains a secret: one of its words says so, and its last word does not name
/// something else (`token_url`, `secret_file`).
pub fn names_a_secret(name: &str) -> bool {
    const SECRET: [&str; 12] = [
        "secret",
        "password",
        "passwd",
        "passphrase",
        "token",
        "key",
        "apikey",
        "authorization",
        "cookie",
        "credential",
        "credentials",
        "pat",
    ];
    const HARMLESS: [&str; 14] = [
        "url", "uri", "file", "path", "name", "id", "header", "claim", "type", "endpoint", "s", "ttl", "env",
        "kid",
    ];
    let lower = name.to_ascii_lowercase();
    let words = || lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words().any(|word| SECRET.contains(&word))
        && words().next_back().is_some_and(|last| !HARMLESS.contains(&last))
}

/// Masks the strings that are assigned to names of secrets, byte for byte, so that spans stay valid.
///
/// It uses the text and not the parsed document, because a document that cannot be parsed is quoted as well.
fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        masked.push_str(before);
        masked.push('=');
        rest = after;
        let name = last_key(before);
        let (value, _) = rest.split_at(value_end(rest));
        // A proxy's URL with a user also contains a password, even if it is mistyped.
        let names_a_user = name == "proxy" && value.contains('@');
        if name == "pem" || names_a_user || names_a_secret(name) {
            let (hidden, shown) = rest.split_at(value.len());
            masked.extend(hidden.chars().flat_map(stars));
            rest = shown;
        }
    }
    masked.push_str(rest);
    without_user_parts(&masked)
}

/// Replaces invisible characters and others with an effect on terminals, byte for byte.
fn without_hidden(text: &str) -> String {
    let shown = |c: char| {
        let is_kept = is_plain(c) || matches!(c, '\n' | '\r' | '\t');
        std::iter::repeat_n(if is_kept { c } else { '?' }, if is_kept { 1 } else { c.len_utf8() })
    };
    let ended = text.replace("\r\n", " \n");
    ended.chars().flat_map(shown).map(|c| if c == '\r' { '?' } else { c }).collect()
}

/// Masks `user:password@` in URLs.
fn without_user_parts(text: &str) -> String {
    let mut parts = text.split("://");
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['/', '"', '\'', ' ', '\n']).unwrap_or(part.len());
        let user = part.get(..end).and_then(|authority| authority.rfind('@')).unwrap_or(0);
        let (hidden, shown) = part.split_at(user);
        masked.push_str("://");
        masked.extend(hidden.chars().flat_map(stars));
        masked.push_str(shown);
    }
    masked
}

/// The key that ends just before the `=`.
fn last_key(before: &str) -> &str {
    let key = before.trim_end_matches([' ', '\t', '"', '\'']);
    let start = key.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
    start.and_then(|at| key.get(at + 1..).or_else(|| key.get(at..))).unwrap_or(key)
}

/// The end of a value that is a string, or a list that begins with one. 0 for any other value, such as `{ env = "NAME"
/// }`, which contains no secret itself.
fn value_end(value: &str) -> usize {
    let opening = value.len() - value.trim_start_matches([' ', '\t', '[']).len();
    let is_list = value.get(..opening).is_some_and(|opening| opening.contains('['));
    let text = value.get(opening..).unwrap_or_default();
    let Some(quote) = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| text.starts_with(quote)) else {
        return bare_end(value);
    };
    let line_end = || text.find('\n').unwrap_or(text.len());
    let end = match quote.len() {
        3 => text.get(3..).and_then(|inner| inner.find(quote)).map_or(text.len(), |at| at + 6),
        // To the end of the line, because a quote inside the value must not end it.
        _ if is_list => line_end(),
        _ => string_end(text, quote).unwrap_or_else(line_end),
    };
    opening + end
}

/// The end of a value without quotes: `--token=abc` within a command.
fn bare_end(value: &str) -> usize {
    match value.starts_with([' ', '\t', '{', '[']) {
        true => 0,
        false => value.find(['"', '\'', ',', '\n', ' ']).unwrap_or(value.len()),
    }
}

fn string_end(text: &str, quote: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return None,
            _ if escaped => escaped = false,
            '\\' => escaped = quote == "\"",
            _ if quote.starts_with(c) => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// One `*` for each byte of the character. Line breaks stay, so that line numbers do.
fn stars(c: char) -> impl Iterator<Item = char> {
    let masked = if matches!(c, '\n' | '\r' | ' ' | '"' | '\'') { c } else { '*' };
    std::iter::repeat_n(masked, c.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::{mask, names_a_secret, without_hidden};

    #[test]
    fn secrets_are_masked_in_the_shown_source() {
        assert_eq!(mask("secret = \"abc\" # x"), "secret = \"***\" # x");
        assert_eq!(mask("a = { client_secret = 'a\\', b = 'c' }"), "a = { client_secret = '**', b = 'c' }");
        assert_eq!(mask("api_key = \"unterminated\nnext = 1"), "api_key = \"************\nnext = 1");
        assert_eq!(mask("pem = \"\"\"\nAB\n\"\"\"\nx = 'y'"), "pem = \"\"\"\n**\n\"\"\"\nx = 'y'");
        assert_eq!(mask("\"API_TOKEN\"=[ 'é', 'b' ]"), "\"API_TOKEN\"=* '**'* '*' *");
        assert_eq!(mask("secret = { env = \"NAME\" }"), "secret = { env = \"NAME\" }");
        assert_eq!(mask("['x', '--token=abc']"), "['x', '--token=***']");
        assert_eq!(mask("url = 'http://a:b@c/d@e'"), "url = 'http://***@c/d@e'");
        assert_eq!(mask("proxy = 'u:pw@h:1'"), "proxy = '********'");
        assert_eq!(mask("proxy = 'http://h:1'"), "proxy = 'http://h:1'");
        assert_eq!(mask("store = \"keys.toml\""), "store = \"keys.toml\"");
        assert_eq!(mask("token = \"a\\\"b=c\" x = 'z'"), "token = \"**\"***\" x = 'z'");
    }

    #[test]
    fn hidden_characters_of_a_source_are_replaced_byte_for_byte() {
        let text = "a = 'x\u{202e}y\u{1b}[31m\rz'\r\n\tb = 'é'\n";
        let shown = without_hidden(text);
        assert_eq!(shown, "a = 'x???y?[31m?z' \n\tb = 'é'\n");
        assert_eq!(shown.len(), text.len());
    }

    #[test]
    fn values_that_only_resemble_secrets_are_shown() {
        assert!(
            names_a_secret("UPSTREAM_TOKEN")
                && names_a_secret("X-Api-Key")
                && names_a_secret("Authorization")
        );
        assert!(!names_a_secret("token_url") && !names_a_secret("TOKENIZERS") && !names_a_secret("keys"));
    }
}
