//! The choice of entries: by their members, or the last ones.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use memchr::memmem::Finder;
use serde_json::Value;

use crate::line::ChainFields;
use crate::segment;
use witgate_base::clock;

/// The kinds of targets that stand before their names.
const KINDS: [&str; 3] = ["resource:", "prompt:", "method:"];

/// Conditions on entries. All of them have to hold.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    /// The values of members: a member with this name is or contains this text.
    pub members: Vec<(String, String)>,
    /// The earliest time, as in entries.
    pub since: Option<String>,
    /// The time before which an entry has to be.
    pub until: Option<String>,
}

impl EntryFilter {
    /// True if the entry fulfils all conditions.
    pub fn admits(&self, entry: &Value) -> bool {
        let time = entry.get("time").and_then(Value::as_str).unwrap_or_default();
        self.members.iter().all(|(name, wanted)| entry.get(name).is_some_and(|value| is(value, wanted)))
            && self.since.as_deref().is_none_or(|since| time >= since)
            && self.until.as_deref().is_none_or(|until| time < until)
    }

    /// Texts that every admitted line contains, so that the others need no parse.
    fn needles(&self) -> Vec<Finder<'_>> {
        let plain = |wanted: &&(String, String)| {
            wanted.1.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
        };
        self.members.iter().filter(plain).map(|(_, wanted)| Finder::new(wanted.as_bytes())).collect()
    }
}

/// The time in a text, in the form of entries: of a date, a time (RFC 3339, UTC), or a duration before now.
///
/// # Errors
/// With the forms, for people.
pub fn entry_time(text: &str) -> Result<String, String> {
    let at = match humantime::parse_duration(text) {
        Ok(before) => clock::since_epoch().checked_sub(before),
        Err(_) => {
            let whole = if text.contains(':') { text.to_owned() } else { format!("{text}T00:00:00Z") };
            let parsed = humantime::parse_rfc3339_weak(&whole).map_err(|_| {
                "write a date such as 2026-11-30, a time such as 2026-11-30T09:00:00Z, or a duration such as 2h"
                    .to_owned()
            })?;
            parsed.duration_since(UNIX_EPOCH).ok()
        }
    };
    let at = UNIX_EPOCH + at.unwrap_or(Duration::ZERO);
    Ok(humantime::format_rfc3339_micros(at).to_string())
}

/// True if a member is a text, contains it in a list, or is a number with this text. A target also has this name if the
/// name stands after its kind.
fn is(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => {
            text == wanted || KINDS.iter().any(|kind| text.strip_prefix(kind) == Some(wanted))
        }
        Value::Number(number) => number.to_string() == wanted,
        Value::Bool(flag) => flag.to_string() == wanted,
        Value::Array(values) => values.iter().any(|value| is(value, wanted)),
        Value::Null | Value::Object(_) => false,
    }
}

/// Passes the entries of the log in `directory` that `filter` admits to `take`, in order, from the line `from` on. `take`
/// gets the line and its JSON, and may stop. Returns the number of the line after the last one.
///
/// # Errors
/// If a file cannot be read.
pub fn scan(
    directory: &Path,
    from: u64,
    filter: &EntryFilter,
    mut take: impl FnMut(&str, &Value) -> ControlFlow<()>,
) -> io::Result<u64> {
    let needles = filter.needles();
    let segments = segment::list(directory)?;
    let begin = segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
    let mut next = from;
    for segment in segments.get(begin..).unwrap_or_default() {
        let mut lines = segment.lines()?;
        while let Some(line) = lines.next()? {
            let Some(fields) = ChainFields::of(line.bytes()).filter(|_| line.is_whole) else { continue };
            if fields.number < from {
                continue;
            }
            next = fields.number + 1;
            if !needles.iter().all(|needle| needle.find(line.bytes()).is_some()) {
                continue;
            }
            let Ok(text) = std::str::from_utf8(line.bytes()) else { continue };
            let Ok(entry) = serde_json::from_str::<Value>(text) else { continue };
            if filter.admits(&entry) && take(text, &entry).is_break() {
                return Ok(next);
            }
        }
    }
    Ok(next)
}

/// The last `count` lines of the log in `directory`, and the number of the line after them.
///
/// # Errors
/// If a file cannot be read.
pub fn last_lines(directory: &Path, count: usize) -> io::Result<(Vec<String>, u64)> {
    let (mut lines, mut next) = (VecDeque::new(), 0);
    let segments = segment::list(directory)?;
    // Only as many segments as needed, from the last one back.
    let mut begin = segments.len();
    while begin > 0 && segments.get(begin..).is_none_or(|tail| !covers(tail, count)) {
        begin -= 1;
    }
    for segment in segments.get(begin..).unwrap_or_default() {
        let mut reader = segment.lines()?;
        while let Some(line) = reader.next()? {
            let Some(fields) = ChainFields::of(line.bytes()).filter(|_| line.is_whole) else { continue };
            next = fields.number + 1;
            lines.push_back(String::from_utf8_lossy(line.bytes()).into_owned());
            if lines.len() > count {
                lines.pop_front();
            }
        }
    }
    Ok((lines.into(), next))
}

/// True if these segments surely have `count` lines. The last one may have few.
fn covers(segments: &[segment::Segment], count: usize) -> bool {
    let (first, last) = (segments.first(), segments.last());
    let complete = first.zip(last).map_or(0, |(first, last)| last.first - first.first);
    usize::try_from(complete).unwrap_or(usize::MAX) >= count
}
