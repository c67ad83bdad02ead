//! The loading of a configuration from its text.
//!
//! Whatever the text, what is wrong with it is said: each fault within the text, on one line, and
//! an error where nothing can be used.

use std::path::Path;

use witgate_config::diagnostic::{Diagnostic, Style, render};
use witgate_config::environment::Environment;
use witgate_config::resolve::{LoadedConfig, load_text};
use witgate_config::{Config, UpstreamTarget};

/// A path without a file.
const PLACE: &str = "/nowhere/witgate.toml";

/// Loads an input, and looks at what is said of it.
///
/// # Panics
/// Where a diagnostic points outside of the text or breaks a line, or a configuration that cannot
/// be is handed out.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // What a configuration has read beside it is not its text.
    if text.contains("/dev") || text.contains("/proc") || text.contains("/sys") {
        return;
    }
    let environment: Environment =
        [("TOKEN", "sesame"), ("SECRET", "a secret that is long enough for an HMAC"), ("EMPTY", "")]
            .into_iter()
            .collect();
    match load_text(Path::new(PLACE), text, &environment) {
        Ok(LoadedConfig { config, warnings, .. }) => {
            assert!(!warnings.iter().any(Diagnostic::is_error), "an error is let through: {warnings:?}");
            usable(&config);
            legible(&warnings, text);
        }
        Err(faults) => {
            assert!(faults.iter().any(Diagnostic::is_error), "refused for nothing: {faults:?}");
            legible(&faults, text);
        }
    }
}

fn usable(config: &Config) {
    assert!(!config.upstreams.is_empty(), "it protects nothing");
    assert!(!config.auth_disabled, "a file has switched authentication off");
    for upstream in &config.upstreams {
        assert!(upstream.path.starts_with('/'), "{:?}", upstream.path);
        assert!(!matches!(&upstream.target, UpstreamTarget::Command { argv, .. } if argv.is_empty()));
        let pipeline = &upstream.pipeline;
        for name in pipeline.authenticate.iter().chain(&pipeline.authorize) {
            assert!(config.policies.contains_key(name), "the policy {name:?} is none");
        }
    }
}

fn legible(diagnostics: &[Diagnostic], text: &str) {
    for diagnostic in diagnostics {
        if let Some(span) = diagnostic.span() {
            assert!(text.get(span.clone()).is_some(), "{span:?} is no part of the text: {diagnostic}");
            let (line, column) = diagnostic.position().expect("what has a span has a place");
            let lines = text.matches('\n').count() + 1;
            assert!((1..=lines).contains(&line) && column >= 1, "{line}:{column}: {diagnostic}");
        }
        let message = diagnostic.to_string();
        assert!(!message.contains(char::is_control), "more than a line of text: {message:?}");
        assert!(!diagnostic.message().is_empty());
    }
    assert_eq!(render(diagnostics, Style::default()).is_empty(), diagnostics.is_empty());
}
