//! Pages whose commands are run: each `console` block of a page is a dialogue with a shell.
//!
//! A line that begins with `$ ` is a command, one with `> ` goes on with it; what follows is what the terminal has to show. `…` stands for
//! anything within a line, a line of `…` alone for any number of lines, and `[N]` at the end for an exit code other than 0. All blocks of a page
//! are one session of `bash`, in an empty directory.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// One command of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its line on the page.
    pub line: usize,
    /// The command.
    pub command: String,
    /// The expected output.
    pub expected: Vec<String>,
    /// The exit code.
    pub code: i32,
}

/// The commands of a page, in order.
pub fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut in_block = false;
    for (line, text) in (1..).zip(page.lines()) {
        match (in_block, text.strip_prefix("$ "), steps.last_mut()) {
            (false, ..) => in_block = text.trim() == "```console",
            (true, ..) if text.trim() == "```" => in_block = false,
            (true, Some(command), _) => {
                steps.push(Step { line, command: command.to_owned(), expected: Vec::new(), code: 0 });
            }
            (true, None, Some(step)) => step.take(text),
            (true, None, None) => panic!("line {line}: a block begins with a command"),
        }
    }
    steps
}

impl Step {
    fn take(&mut self, text: &str) {
        let code = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')?.parse().ok());
        match (text.strip_prefix("> "), code) {
            (Some(more), _) if self.expected.is_empty() => self.command = format!("{}\n{more}", self.command),
            (_, Some(code)) => self.code = code,
            _ => self.expected.push(text.trim_end().to_owned()),
        }
    }

    /// The difference from the page.
    fn fault(&self, output: &str, code: i32) -> Option<String> {
        let output: Vec<&str> = output.trim_end().lines().map(str::trim_end).collect();
        let expected: Vec<&str> = self.expected.iter().map(String::as_str).collect();
        let right = code == self.code && matches(&expected, &output);
        (!right).then(|| {
            let Self { line, command, code: wanted, .. } = self;
            let (expected, output) = (expected.join("\n"), output.join("\n"));
            format!("line {line}: $ {command}\n--- the page, exit code {wanted}\n{expected}\n--- the terminal, exit code {code}\n{output}")
        })
    }
}

/// True if lines are as a page has them.
fn matches(expected: &[&str], lines: &[&str]) -> bool {
    match (expected.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((&"…", rest)), _) => (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..])),
        (Some((wanted, expected)), Some((line, lines))) => {
            line_matches(wanted, line) && matches(expected, lines)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn line_matches(wanted: &str, line: &str) -> bool {
    let Some((first, rest)) = wanted.split_once('…') else { return wanted == line };
    let Some(line) = line.strip_prefix(first) else { return false };
    let ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
    ends.into_iter().any(|at| line_matches(rest, &line[at..]))
}

/// Runs the commands of a page in `directory`, and says what went otherwise.
pub fn run(page: &str, directory: &Path, environment: &[(&str, &str)]) -> Vec<String> {
    let steps = steps(page);
    assert!(!steps.is_empty(), "the page has no commands");
    let mut script = String::from("exec 2>&1\n");
    for step in &steps {
        // A group and no subshell: `cd` and variables stay.
        writeln!(script, "{{ {}\n}}\nprintf '\\036%d\\036' $?", step.command).unwrap();
    }
    script.push_str("kill $(jobs -p) 2>/dev/null; wait\n");
    let file = directory.join(".session");
    std::fs::write(&file, script).unwrap();
    let mut bash = Command::new("bash");
    bash.arg(&file).current_dir(directory).stdin(Stdio::null()).envs(environment.iter().copied());
    let output = bash.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut parts = stdout.split('\u{1e}');
    let mut faults = Vec::new();
    for step in &steps {
        let (part, code) = (parts.next().unwrap_or_default(), parts.next());
        let Some(code) = code.and_then(|code| code.parse().ok()) else {
            faults.push(format!("line {}: $ {}\nended the session:\n{part}", step.line, step.command));
            break;
        };
        faults.extend(step.fault(part, code));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Title\n\n```console\n$ echo one; echo two\none\n…\n$ cat <<E\n> x 1 y\n> E\nx … y\n```\n\n```sh\n$ not run\n```\n\n```console\n$ (exit 3)\n[3]\n```\n";

    #[test]
    fn a_page_is_read_as_commands_with_their_output() {
        let steps = steps(PAGE);
        let commands: Vec<_> = steps.iter().map(|step| step.command.as_str()).collect();
        assert_eq!(commands, ["echo one; echo two", "cat <<E\nx 1 y\nE", "(exit 3)"]);
        assert_eq!(steps[1].expected, ["x … y"]);
        assert_eq!((steps[2].code, steps[2].line), (3, 18));
    }

    #[test]
    fn the_output_is_compared_with_the_page() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(run(PAGE, directory.path(), &[]), Vec::<String>::new());
        for (from, to) in [("x … y", "x … z"), ("[3]", "[4]"), ("one\n…", "two\n…"), ("(exit 3)", "exit 3")]
        {
            let other = PAGE.replace(from, to);
            assert_eq!(run(&other, directory.path(), &[]).len(), 1, "{to}");
        }
    }
}
