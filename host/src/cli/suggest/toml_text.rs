//! A suggestion as policies of the kind `rbac`, for the configuration.

use super::least_policy::LeastPolicy;
use witgate_base::printable::is_plain;

/// The tables of the policies, under a comment that says where they come from.
pub(super) fn rbac(policies: &[LeastPolicy], since: &str) -> String {
    let mut text = format!(
        "# The calls that the audit log has as allowed since {since}, and nothing else.\n\
         # Name the policy in the pipeline of its upstream: authorize = [\"NAME\"]\n"
    );
    for policy in policies {
        let at = format!("policies.{}", key(&policy.name()));
        text.push_str(&format!("\n[{at}] # for [upstreams.{}]\nkind = \"rbac\"\n\n", key(&policy.upstream)));
        text.push_str(&settings(policy, &format!("{at}.config")));
    }
    text
}

/// The settings of a policy as tables below `at`.
pub(super) fn settings(policy: &LeastPolicy, at: &str) -> String {
    let mut text = String::new();
    for (role, patterns) in &policy.roles {
        let patterns: String = patterns.iter().map(|pattern| format!("  {},\n", quoted(pattern))).collect();
        text.push_str(&format!("[{at}.roles.{}]\nallow = [\n{patterns}]\n\n", key(role)));
    }
    for (caller, role) in &policy.holders {
        let issuer = caller.issuer.as_ref().map(|issuer| format!("issuer = {}\n", quoted(issuer)));
        text.push_str(&format!(
            "[[{at}.subjects]]\nsubject = {}\npolicy = {}\n{}roles = [{}]\n\n",
            quoted(&caller.subject),
            quoted(&caller.proven_by),
            issuer.unwrap_or_default(),
            quoted(role)
        ));
    }
    text
}

/// A text as a value of TOML, in which invisible characters are visible, so that a terminal need not replace them.
pub(super) fn quoted(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        _ if is_plain(c) => c.to_string(),
        _ => format!("\\U{:08X}", u32::from(c)),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

/// A text as a key of TOML.
fn key(text: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !text.is_empty() && text.chars().all(is_bare) {
        true => text.to_owned(),
        false => quoted(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_read_again_and_shows_all_of_its_characters() {
        for text in ["a", "", "\"\\'", "zero\u{200b}width", "\u{202e}\n\t\0", "äöü €", "\u{e0041}"] {
            let written = format!("{} = {}", key(text), quoted(text));
            assert!(written.chars().all(is_plain), "{written}");
            let table: toml::Table = written.parse().unwrap_or_else(|error| panic!("{error}: {written}"));
            assert_eq!(table.get(text).and_then(toml::Value::as_str), Some(text), "{written}");
        }
    }
}
