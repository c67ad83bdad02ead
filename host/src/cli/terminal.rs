//! Output of commands: answers on standard output, everything else on standard error. Names and texts of others are
//! escaped, so that they do not control the terminal.

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use super::outcome::{CommandFailure, Exit};
use witgate_base::printable;
use witgate_config::diagnostic::{Diagnostic, Style, render};
use witgate_config::environment;

/// The output streams of a command.
pub(super) struct Terminal {
    json: bool,
}

impl Terminal {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// True if the output is for a program.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a part of the answer. A reader that has closed the pipe is no error.
    pub(super) fn print(&self, text: &str) {
        let mut out = io::stdout().lock();
        let text = printable::lines(text.trim_end_matches('\n'));
        drop(writeln!(out, "{text}").and_then(|()| out.flush()));
    }

    /// Prints the whole answer, for a program.
    pub(super) fn print_json(&self, value: &Value) {
        self.print(&printable::json(&format!("{value:#}")));
    }

    /// Prints a message for people only.
    pub(super) fn say(&self, text: &str) {
        if !self.json {
            drop(writeln!(io::stderr(), "{}", printable::lines(text.trim_end_matches('\n'))));
        }
    }

    /// Prints the reason for the exit code, for a program whose answer does not contain it.
    pub(super) fn warn_json(&self, message: &str) {
        drop(writeln!(io::stderr(), "{}", serde_json::json!({ "error": message })));
    }

    /// Prints the diagnostics of a configuration.
    pub(super) fn diagnose(&self, diagnostics: &[Diagnostic]) {
        if diagnostics.is_empty() {
            return;
        }
        let stderr = io::stderr();
        let style = Style {
            color: stderr.is_terminal() && environment::variable("NO_COLOR").is_none(),
            ..Style::default()
        };
        drop(write!(stderr.lock(), "{}", render(diagnostics, style)));
    }

    /// Prints why a command could not run, and returns its exit code.
    pub(super) fn failed(&self, failure: &CommandFailure) -> Exit {
        match failure {
            CommandFailure::CouldNotRun(message) => {
                self.failed_because(message);
                Exit::CouldNotRun
            }
            CommandFailure::NotInForce(message) => {
                self.failed_because(message);
                Exit::NotInForce
            }
            CommandFailure::Data(_, diagnostics) => {
                self.faulty(failure, diagnostics);
                Exit::BadData
            }
            CommandFailure::Config(diagnostics) => {
                self.faulty(failure, diagnostics);
                Exit::BadConfig
            }
        }
    }

    fn failed_because(&self, message: &str) {
        match self.json {
            true => {
                let output = serde_json::json!({ "error": message }).to_string();
                drop(writeln!(io::stderr(), "{}", printable::json(&output)));
            }
            false => drop(writeln!(io::stderr(), "witgate: {}", printable::lines(message))),
        }
    }

    fn faulty(&self, failure: &CommandFailure, diagnostics: &[Diagnostic]) {
        let errors = diagnostics.iter().filter(|fault| fault.is_error()).count();
        if self.json {
            let output =
                serde_json::json!({ "error": failure.to_string(), "diagnostics": to_json(diagnostics) });
            drop(writeln!(io::stderr(), "{}", printable::json(&output.to_string())));
        } else if errors == 0 {
            drop(writeln!(io::stderr(), "witgate: {}", printable::lines(&failure.to_string())));
        } else {
            self.diagnose(diagnostics);
            drop(writeln!(io::stderr(), "\nwitgate: {failure}: {}", counted(errors, "error")));
        }
    }
}

pub(super) fn to_json(diagnostics: &[Diagnostic]) -> Value {
    diagnostics.iter().map(Diagnostic::to_json).collect()
}

/// A number with its noun: "1 error", "2 errors".
pub(super) fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Rows under a heading, in columns that are as wide as their longest cell.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<_> = heading.iter().map(|title| (*title).to_owned()).collect();
    let shown = |row: &Vec<String>| row.iter().map(|cell| printable::line(cell).into_owned()).collect();
    let rows: Vec<Vec<_>> = rows.iter().map(shown).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&heading]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..heading.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    [&heading].into_iter().chain(&rows).map(line).collect::<Vec<_>>().join("\n")
}
