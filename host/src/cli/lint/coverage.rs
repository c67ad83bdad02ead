//! Comparisons of patterns with each other, and with names.

use std::collections::BTreeSet;

use witgate_config::shape::nearest;
use witgate_plugin::{Glob, TargetKind};

/// The kinds of targets with their prefixes in patterns.
const PREFIXES: [(&str, TargetKind); 3] =
    [("resource:", TargetKind::Resource), ("prompt:", TargetKind::Prompt), ("method:", TargetKind::Method)];

/// The kind of the targets that a pattern covers, and the rest of its text. None: it is `*`, which covers several kinds.
pub(in crate::cli) fn parts(pattern: &str) -> (Option<TargetKind>, &str) {
    if pattern == "*" {
        return (None, pattern);
    }
    let prefixed = PREFIXES.iter().find_map(|(prefix, kind)| Some((*kind, pattern.strip_prefix(prefix)?)));
    let (kind, rest) = prefixed.unwrap_or((TargetKind::Tool, pattern));
    (Some(kind), rest)
}

/// The prefix of a kind of targets in patterns.
pub(super) fn prefix(kind: TargetKind) -> &'static str {
    PREFIXES.iter().find(|(_, own)| *own == kind).map_or("", |(prefix, _)| prefix)
}

/// True if the pattern has a wildcard.
pub(super) fn is_wildcard(pattern: &str) -> bool {
    parts(pattern).1.contains('*')
}

/// True if `wide` covers everything that `narrow` covers. Only a `*` in `wide` matches the text `*`, so `narrow` is
/// compared as if it were a name.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    match (parts(wide), parts(narrow)) {
        ((None, _), (kind, _)) => kind != Some(TargetKind::Method),
        (_, (None, _)) => false,
        ((Some(wide_kind), wide), (Some(narrow_kind), narrow)) => {
            wide_kind == narrow_kind && Glob::new(wide).matches(narrow)
        }
    }
}

/// The pattern without its prefix that covers one of `names` and is most similar to `glob`, if it is similar enough for
/// a suggestion.
pub(super) fn nearest_glob(glob: &str, names: &[&str]) -> Option<String> {
    let Some((head, rest)) = glob.split_once('*') else {
        return renamed(glob, names).or_else(|| nearest(glob, names.iter().copied())).map(str::to_owned);
    };
    let length = head.chars().count();
    let lengths = length.saturating_sub(1).max(1)..=length + 1;
    let beginnings: BTreeSet<String> = names
        .iter()
        .flat_map(|name| lengths.clone().map(|length| name.chars().take(length).collect()))
        .collect();
    let changed = |beginning: &str| format!("{beginning}*{rest}");
    let is_useful = |beginning: &&str| {
        let glob = Glob::new(&changed(beginning));
        names.iter().any(|name| glob.matches(name))
    };
    let useful = beginnings.iter().map(String::as_str).filter(is_useful);
    nearest(head, useful).map(changed)
}

/// The only name with the words of `old`, written in another way or with words around them: `get-tiny-image` for
/// `getTinyImage`, and `get-user-list` for `userList`. A single word is too little for words around it.
fn renamed<'n>(old: &str, names: &[&'n str]) -> Option<&'n str> {
    let old = words(old);
    let only = |is_meant: &dyn Fn(&[String]) -> bool| {
        let mut meant = names.iter().filter(|name| is_meant(&words(name)));
        meant.next().filter(|_| meant.next().is_none()).copied()
    };
    let same = |name: &[String]| name == old;
    let longer = |name: &[String]| old.len() > 1 && name.windows(old.len()).any(|part| part == old);
    only(&same).or_else(|| only(&longer))
}

/// The words of a name in camel case, snake case or kebab case, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = None;
    for next in name.chars() {
        let begins = next.is_uppercase() && before.is_some_and(|before: char| !before.is_uppercase());
        if begins || !next.is_alphanumeric() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| next.is_alphanumeric()) {
            word.extend(next.to_lowercase());
        }
        before = Some(next);
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_another_if_it_covers_all_of_its_names() {
        for (wide, narrow, expected) in [
            ("*", "get_*", true),
            ("*", "resource:file:///a", true),
            ("*", "*", true),
            ("*", "method:tasks/list", false),
            ("get_*", "get_sum", true),
            ("get_*", "get_*_sum", true),
            ("get_*", "*", false),
            ("get_*", "g*", false),
            ("*_sum", "get_*_sum", true),
            ("resource:file:///*", "resource:file:///a/*", true),
            ("resource:*", "get_sum", false),
            ("method:*", "method:tasks/*", true),
        ] {
            assert_eq!(covers(wide, narrow), expected, "{wide} {narrow}");
        }
    }

    #[test]
    fn the_nearest_pattern_covers_a_name() {
        let names = ["get_sum", "get_rows", "echo"];
        for (glob, expected) in [
            ("get_smu", Some("get_sum")),
            ("gett_*", Some("get_*")),
            ("gte_*", Some("get_*")),
            ("delete_everything", None),
            ("*_sums", None),
        ] {
            assert_eq!(nearest_glob(glob, &names).as_deref(), expected, "{glob}");
        }
    }

    #[test]
    fn a_renamed_tool_is_found_by_its_words() {
        let names =
            ["get-tiny-image", "trigger-long-running-operation", "get_http_status", "get-env", "image"];
        for (old, expected) in [
            ("getTinyImage", Some("get-tiny-image")),
            ("get_tiny_image", Some("get-tiny-image")),
            ("tinyImage", Some("get-tiny-image")),
            ("longRunningOperation", Some("trigger-long-running-operation")),
            ("getHTTPStatus", Some("get_http_status")),
            ("getHttpStatus", Some("get_http_status")),
            ("Image", Some("image")),
            ("tiny", None),
            ("-", None),
        ] {
            assert_eq!(nearest_glob(old, &names).as_deref(), expected, "{old}");
        }
        let two = ["get-user-list", "put-user-list"];
        assert_eq!(nearest_glob("userList", &two), None, "it may be either");
    }
}
