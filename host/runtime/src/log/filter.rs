//! The filter of the log, from `RUST_LOG` or from an operator. A fault in `RUST_LOG` is reported, and never silences the
//! log. A filter of an operator with a fault is refused.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};

/// The default filter.
const DEFAULT: &str = "info";

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The maximum edit distance from a level at which a word counts as a misspelt level, and not as a target.
const NEAR: usize = 2;

/// Reads the filter in `written`. Returns its faults as well.
pub(super) fn read(written: Option<&str>) -> (EnvFilter, Vec<String>) {
    let mut faults = Vec::new();
    // `EnvFilter` splits its text in the same way.
    let parts = written.unwrap_or(DEFAULT).split(',').map(str::trim).filter(|part| !part.is_empty());
    let mut directives: Vec<Directive> = parts.filter_map(|part| directive(part, &mut faults)).collect();
    if directives.is_empty() {
        directives.extend(DEFAULT.parse::<Directive>());
    }
    (of(directives), faults)
}

/// Reads the filter in `written`.
///
/// # Errors
/// With the first fault, in a sentence.
pub(super) fn parse(written: &str) -> Result<EnvFilter, String> {
    let parts = written.split(',').map(str::trim).filter(|part| !part.is_empty());
    let directives = parts.map(strict).collect::<Result<Vec<_>, _>>()?;
    if directives.is_empty() {
        return Err(format!("name a level: {}", LEVELS.join(", ")));
    }
    Ok(of(directives))
}

fn of(directives: Vec<Directive>) -> EnvFilter {
    let nothing = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into()).parse_lossy("");
    directives.into_iter().fold(nothing, EnvFilter::add_directive)
}

/// Parses one directive. Without `=`, it has to be a level: a misspelt level would otherwise be the only target that is
/// logged.
fn strict(part: &str) -> Result<Directive, String> {
    let (is_targeted, level) = part.rsplit_once('=').map_or((false, part), |(_, level)| (true, level));
    let is_level = level.parse::<LevelFilter>().is_ok();
    match part.parse::<Directive>() {
        Ok(directive) if is_targeted || is_level => Ok(directive),
        _ => {
            let nearest =
                nearest(level).map(|(_, name)| format!(" (did you mean `{name}`?)")).unwrap_or_default();
            Err(format!("`{level}` is not a level{nearest}; levels are {}", LEVELS.join(", ")))
        }
    }
}

/// Parses one directive. An invalid level becomes `info`.
fn directive(part: &str, faults: &mut Vec<String>) -> Option<Directive> {
    let (before, level) = part.rsplit_once('=').map_or((None, part), |(before, level)| (Some(before), level));
    let parsed = part.parse::<Directive>();
    if let (Ok(directive), false) = (parsed, before.is_none() && is_mistaken_level(part)) {
        return Some(directive);
    }
    let instead = before.map_or(DEFAULT.to_owned(), |before| format!("{before}={DEFAULT}"));
    let directive = instead.parse::<Directive>().ok();
    let nearest = nearest(level).map(|(_, name)| format!(" (did you mean `{name}`?)")).unwrap_or_default();
    let then = match &directive {
        Some(_) => format!("`{instead}` is used in its place"),
        None => "it is ignored".to_owned(),
    };
    faults.push(format!(
        "RUST_LOG: `{level}` in `{part}` is not a level{nearest}; {then}. Levels are {}",
        LEVELS.join(", ")
    ));
    directive
}

/// True if a single word is a misspelt level. Otherwise, such a word is a level, or a target that is logged completely
/// while everything else is silent.
fn is_mistaken_level(word: &str) -> bool {
    let is_level = word.parse::<LevelFilter>().is_ok();
    !is_level && nearest(word).is_some_and(|(distance, _)| distance <= NEAR)
}

fn nearest(word: &str) -> Option<(usize, &'static str)> {
    let word = word.to_ascii_lowercase();
    let near = LEVELS.iter().map(|name| (strsim::damerau_levenshtein(&word, name), *name));
    near.min().filter(|(distance, _)| *distance <= NEAR)
}

#[cfg(test)]
mod tests {
    use super::{parse, read};

    #[test]
    fn a_filter_of_an_operator_is_taken_whole_or_not_at_all() {
        for (written, filter) in [
            ("debug", "debug"),
            ("WARN", "warn"),
            ("info,witgate::plugin=debug", "witgate::plugin=debug,info"),
            ("off", "off"),
        ] {
            assert_eq!(parse(written).map(|filter| filter.to_string()).as_deref(), Ok(filter));
        }
        for (written, fault) in [
            ("debgu", "`debgu` is not a level (did you mean `debug`?); levels are off, error"),
            ("info,hyper=loud", "`loud` is not a level; levels are"),
            ("witgate", "`witgate` is not a level; levels are"),
            ("", "name a level: off, error"),
            (" , ", "name a level"),
        ] {
            let told = parse(written).unwrap_err();
            assert!(told.starts_with(fault), "{written}: {told}");
        }
    }

    #[test]
    fn an_invalid_level_is_reported_and_silences_nothing() {
        for (written, filter, fault) in [
            (None, "info", None),
            (Some("warn"), "warn", None),
            (Some("DEBUG"), "debug", None),
            (Some(" info , hyper=warn "), "hyper=warn,info", None),
            (Some("witgate"), "witgate=trace,off", None),
            (Some("debgu"), "info", Some("`debgu` in `debgu` is not a level (did you mean `debug`?)")),
            (Some("wran,hyper=error"), "hyper=error,info", Some("(did you mean `warn`?)")),
            (Some("inof"), "info", Some("(did you mean `info`?)")),
            (Some("witgate=debgu"), "witgate=info,off", Some("`debgu` in `witgate=debgu` is not a level")),
            (Some("witgate=loud"), "witgate=info,off", Some("`loud` in `witgate=loud` is not a level; ")),
            (Some(",,"), "info", None),
        ] {
            let (read, faults) = read(written);
            assert_eq!(read.to_string(), filter, "{written:?}");
            assert_eq!(faults.len(), usize::from(fault.is_some()), "{written:?}: {faults:?}");
            assert!(fault.is_none_or(|fault| faults[0].contains(fault)), "{written:?}: {faults:?}");
        }
    }
}
