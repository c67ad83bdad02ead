//! The templates of new projects, embedded by `build.rs`.

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The version of the WIT package `witgate:auth` in new projects.
pub fn package_version() -> &'static str {
    let package = "package witgate:auth@";
    let texts = WIT.iter().filter_map(|(_, content)| std::str::from_utf8(content).ok());
    let mut lines = texts.filter_map(|text| text.lines().next()?.strip_prefix(package));
    lines.next().map_or("", |version| version.trim_end_matches(';'))
}
