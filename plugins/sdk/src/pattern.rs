//! Patterns over tools, resources, prompts and methods, the same for every policy.
//!
//! A pattern without a prefix is for tools; the prefixes for other targets are `resource:`, `prompt:`
//! and `method:`. `*` matches any characters, also none. Every other character matches itself; case
//! matters. The pattern has to match the whole name. `*` alone covers tools, resources and prompts,
//! never methods.

mod literal;

use std::str::FromStr;

use crate::TargetKind;

/// One pattern, ready to match.
///
/// ```
/// use witgate_plugin::{Pattern, TargetKind};
///
/// let docs: Pattern = "resource:file:///docs/*".parse()?;
/// assert!(docs.matches(TargetKind::Resource, "file:///docs/a.md"));
/// assert!(!docs.matches(TargetKind::Tool, "file:///docs/a.md"));
/// # Ok::<(), witgate_plugin::PatternError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// None: the pattern is `*` alone.
    kind: Option<TargetKind>,
    glob: Glob,
}

/// The error in a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// The pattern is empty.
    Empty,
    /// The pattern has a control character, which no name has.
    ControlCharacter,
    /// The pattern has a part that no name in a valid call contains, for this reason.
    NeverMatches(&'static str),
}

impl std::fmt::Display for PatternError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("an empty pattern matches nothing; write `*` or a name"),
            Self::ControlCharacter => {
                f.write_str("a pattern cannot contain control characters, because no name does")
            }
            Self::NeverMatches(why) => write!(f, "this pattern matches nothing: {why}"),
        }
    }
}

impl std::error::Error for PatternError {}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (kind, glob) = match text {
            "*" => (None, "*"),
            _ => {
                let (kind, glob) = split_kind(text);
                (Some(kind), glob)
            }
        };
        if glob.is_empty() {
            return Err(PatternError::Empty);
        }
        if glob.chars().any(char::is_control) {
            return Err(PatternError::ControlCharacter);
        }
        if let Some(why) = kind.and_then(|kind| literal::never_matches(kind, glob)) {
            return Err(PatternError::NeverMatches(why));
        }
        Ok(Self { kind, glob: Glob::new(glob) })
    }
}

fn split_kind(text: &str) -> (TargetKind, &str) {
    let prefixes = [
        ("resource:", TargetKind::Resource),
        ("prompt:", TargetKind::Prompt),
        ("method:", TargetKind::Method),
    ];
    prefixes
        .into_iter()
        .find_map(|(prefix, kind)| Some((kind, text.strip_prefix(prefix)?)))
        .unwrap_or((TargetKind::Tool, text))
}

impl Pattern {
    /// True if the pattern may cover a name of the kind `kind`.
    pub fn is_for(&self, kind: TargetKind) -> bool {
        match self.kind {
            None => kind != TargetKind::Method,
            Some(own) => own == kind,
        }
    }

    /// True if the pattern covers `name` of the kind `kind`.
    pub fn matches(&self, kind: TargetKind, name: &str) -> bool {
        match self.kind {
            None => kind != TargetKind::Method,
            Some(own) => own == kind && self.glob.matches(name),
        }
    }
}

/// A text in which `*` matches any characters: a [`Pattern`] without the kind of target.
///
/// ```
/// use witgate_plugin::Glob;
///
/// assert!(Glob::new("spiffe://example.com/agents/*").matches("spiffe://example.com/agents/a"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The last byte before the first `*`, and its position. Many names have the same beginning, so this
    /// byte alone excludes most of them.
    mark: Option<(usize, u8)>,
    parts: PatternParts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PatternParts {
    /// No `*` at all.
    Exact(String),
    /// The parts before the first `*`, between the others, and after the last.
    Runs { head: String, middle: Vec<String>, tail: String },
}

impl Glob {
    /// Reads the text. Every text is a glob.
    pub fn new(text: &str) -> Self {
        let head = text.split('*').next().unwrap_or_default();
        Self { mark: head.bytes().enumerate().next_back(), parts: PatternParts::new(text) }
    }

    /// True if the glob matches the whole of `name`.
    pub fn matches(&self, name: &str) -> bool {
        let marked = |(place, byte): (usize, u8)| name.as_bytes().get(place) == Some(&byte);
        self.mark.is_none_or(marked) && self.parts.match_all(name)
    }
}

impl PatternParts {
    fn new(text: &str) -> Self {
        let Some((head, rest)) = text.split_once('*') else {
            return Self::Exact(text.to_owned());
        };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        let middle = middle.split('*').filter(|run| !run.is_empty()).map(str::to_owned).collect();
        Self::Runs { head: head.to_owned(), middle, tail: tail.to_owned() }
    }

    fn match_all(&self, name: &str) -> bool {
        match self {
            Self::Exact(text) => text == name,
            Self::Runs { head, middle, tail } => {
                let rest = name.strip_prefix(head.as_str());
                let Some(mut rest) = rest.and_then(|rest| rest.strip_suffix(tail.as_str())) else {
                    return false;
                };
                // The leftmost match of each part leaves the most room for the next part.
                middle.iter().all(|run| match rest.split_once(run.as_str()) {
                    Some((_, after)) => {
                        rest = after;
                        true
                    }
                    None => false,
                })
            }
        }
    }
}

/// Allow and deny patterns; deny wins.
///
/// ```
/// use witgate_plugin::{RuleVerdict, Rules, TargetKind};
///
/// let rules = Rules::parse(&["get_*"], &["get_secret"]).map_err(|(_, _, error)| error)?;
/// assert_eq!(rules.judge(TargetKind::Tool, "get_sum"), RuleVerdict::Allowed);
/// assert_eq!(rules.judge(TargetKind::Tool, "get_secret"), RuleVerdict::Denied);
/// assert_eq!(rules.judge(TargetKind::Tool, "delete"), RuleVerdict::Unmatched);
/// # Ok::<(), witgate_plugin::PatternError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Permitted names. Empty: nothing.
    pub allow: Vec<Pattern>,
    /// Denied names, even if an allow pattern covers them.
    pub deny: Vec<Pattern>,
}

/// The verdict of rules on a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleVerdict {
    /// An allow pattern covers it, and no deny pattern does.
    Allowed,
    /// A deny pattern covers it.
    Denied,
    /// No pattern covers it.
    Unmatched,
}

impl Rules {
    /// Reads patterns.
    ///
    /// # Errors
    /// With the list (`allow` or `deny`), the index and the fault of the first bad one.
    pub fn parse<S: AsRef<str>>(
        allow: &[S],
        deny: &[S],
    ) -> Result<Self, (&'static str, usize, PatternError)> {
        Ok(Self { allow: parse_all("allow", allow)?, deny: parse_all("deny", deny)? })
    }

    /// The verdict of these rules on `name` of the kind `kind`.
    pub fn judge(&self, kind: TargetKind, name: &str) -> RuleVerdict {
        let covers = |patterns: &[Pattern]| patterns.iter().any(|p| p.matches(kind, name));
        if covers(&self.deny) {
            RuleVerdict::Denied
        } else if covers(&self.allow) {
            RuleVerdict::Allowed
        } else {
            RuleVerdict::Unmatched
        }
    }
}

fn parse_all<S: AsRef<str>>(
    list: &'static str,
    texts: &[S],
) -> Result<Vec<Pattern>, (&'static str, usize, PatternError)> {
    texts
        .iter()
        .enumerate()
        .map(|(index, text)| text.as_ref().parse().map_err(|error| (list, index, error)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Pattern, RuleVerdict, Rules};
    use crate::TargetKind::{Method, Prompt, Resource, Tool};

    fn matches(pattern: &str, kind: crate::TargetKind, name: &str) -> bool {
        pattern.parse::<Pattern>().is_ok_and(|p| p.matches(kind, name))
    }

    #[test]
    fn a_star_matches_any_text_and_a_pattern_the_whole_name() {
        assert!(matches("get_*", Tool, "get_"));
        assert!(matches("get_*", Tool, "get_sum"));
        assert!(!matches("get_*", Tool, "forget_sum"));
        assert!(!matches("get", Tool, "get_sum"));
        assert!(matches("a*b*c", Tool, "a-b-b-c"));
        assert!(!matches("a*b*c", Tool, "acb"));
        assert!(!matches("ab*ba", Tool, "aba"));
        assert!(!matches("Get", Tool, "get"));
        assert!(matches("a**b", Tool, "ab"));
    }

    #[test]
    fn kinds_are_separate_and_a_single_star_excludes_methods() {
        assert!(matches("resource:file:///docs/*", Resource, "file:///docs/a.md"));
        assert!(!matches("resource:file:///docs/*", Tool, "file:///docs/a.md"));
        assert!(matches("*", Tool, "x") && matches("*", Resource, "x") && matches("*", Prompt, "x"));
        assert!(!matches("*", Method, "tasks/list"));
        assert!(matches("method:*", Method, "tasks/list"));
    }

    #[test]
    fn deny_wins_and_nothing_is_allowed_by_default() -> Result<(), super::PatternError> {
        let rules = Rules::parse(&["get_*"], &["get_secret"]).map_err(|e| e.2)?;
        assert_eq!(rules.judge(Tool, "get_sum"), RuleVerdict::Allowed);
        assert_eq!(rules.judge(Tool, "get_secret"), RuleVerdict::Denied);
        assert_eq!(rules.judge(Tool, "echo"), RuleVerdict::Unmatched);
        assert_eq!(Rules::default().judge(Tool, "echo"), RuleVerdict::Unmatched);
        Ok(())
    }

    #[test]
    fn a_pattern_that_cannot_match_is_refused() {
        assert!("".parse::<Pattern>().is_err());
        assert!("resource:".parse::<Pattern>().is_err());
        assert!("a\nb".parse::<Pattern>().is_err());
    }
}
