//! Files with environment variables, such as `.env`: lines of the form `NAME=VALUE`, with `export`, quotes and comments.

mod lines;

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use self::lines::{Assignment, LineFault, Lines};
use crate::diagnostic::{Diagnostic, SourceText};
use witgate_base::cause::{Cause, is_file};

/// Size limit of a file, in bytes. The variables of a process take less.
const LARGEST: u64 = 1 << 20;

/// The bits of a file's mode for users other than its owner.
const OTHERS: u32 = 0o077;

/// The variables of a file.
#[derive(Default)]
pub struct EnvFile {
    /// Names and values, in the order of the file. No name occurs twice.
    pub variables: Vec<(String, Zeroizing<String>)>,
    /// A setting of the file that is probably a mistake.
    pub warnings: Vec<Diagnostic>,
}

impl EnvFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, or a line is invalid. The error has line and column, and quotes no value.
    pub fn read(path: &Path) -> Result<Self, Diagnostic> {
        let shown = path.display();
        let unreadable = |error: &io::Error| {
            Diagnostic::error(format!("the file of variables `{shown}` cannot be read: {error}"))
                .help("correct the path, and let the user who starts Witgate read it")
                .because_of(Cause::of(error))
        };
        // A pipe would keep the reader waiting.
        if !is_file(path).map_err(|error| unreadable(&error))? {
            return Err(
                Diagnostic::error(format!("`{shown}` is not a file")).help("write the path of a file")
            );
        }
        let metadata = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
        if metadata.len() > LARGEST {
            let message = format!("the file of variables `{shown}` has more than {LARGEST} bytes");
            return Err(Diagnostic::error(message).help("check the path"));
        }
        let bytes = Zeroizing::new(std::fs::read(path).map_err(|error| unreadable(&error))?);
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            Diagnostic::error(format!("the file of variables `{shown}` is not UTF-8"))
                .help("save it as UTF-8")
        })?;
        let variables = parse(&shown.to_string(), text)?;
        let is_open = metadata.mode() & OTHERS != 0;
        let warning = is_open.then(|| {
            let mode = metadata.mode() & 0o777;
            Diagnostic::warning(format!("other users may have access to `{shown}`, whose mode is {mode:04o}"))
                .help(format!("run `chmod 600 {shown}`"))
        });
        Ok(Self { variables, warnings: warning.into_iter().collect() })
    }
}

fn parse(name: &str, text: &str) -> Result<Vec<(String, Zeroizing<String>)>, Diagnostic> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if let Some(place) = text.find(is_odd) {
        return Err(fault(name, text, place..place + 1, "this is a control character").help("remove it"));
    }
    let mut variables = Vec::new();
    let mut names = BTreeSet::new();
    let mut lines = Lines::new(text);
    loop {
        match lines.next() {
            Ok(None) => return Ok(variables),
            Ok(Some(Assignment { name: variable, value, .. })) if names.insert(variable) => {
                variables.push((variable.to_owned(), value));
            }
            Ok(Some(Assignment { name: variable, span, .. })) => {
                let message = format!("the variable `{variable}` is set twice");
                return Err(fault(name, text, span, message).help("leave one of the lines"));
            }
            Err(LineFault { span, message, help }) => return Err(fault(name, text, span, message).help(help)),
        }
    }
}

/// The name before the `=` of a line.
fn name_of(line: &str) -> Option<&str> {
    let (name, _) = line.split_once('=')?;
    let name = name.trim();
    Some(name.strip_prefix("export ").map_or(name, str::trim))
}

/// A fault at a place of the file. Only the name in its line is shown, because anything else may be a part of a secret.
fn fault(name: &str, text: &str, place: Range<usize>, message: impl Into<String>) -> Diagnostic {
    let mut start = 0;
    let mut masked = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let is_at_fault = (start..start + line.len()).contains(&place.start);
        let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'_'));
        let shown = match name_of(line).filter(is_name).filter(|_| is_at_fault) {
            Some(_) => line.find('=').map_or(0, |equals| equals + 1),
            None => 0,
        };
        let (before, after) = line.split_at_checked(shown).unwrap_or(("", line));
        masked.push_str(before);
        let hide = |c: char| if c.is_whitespace() { c.to_string() } else { "*".repeat(c.len_utf8()) };
        after.chars().for_each(|c| masked.push_str(&hide(c)));
        start += line.len();
    }
    Diagnostic::error(message).at(&Arc::new(SourceText::new(name, &masked)), place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::diagnostic::{Style, render};

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let own = |(name, value): (String, Zeroizing<String>)| (name, value.as_str().to_owned());
        parse(".env", text)
            .map(|variables| variables.into_iter().map(own).collect())
            .map_err(|fault| fault.to_string())
    }

    fn value(line: &str) -> String {
        let variables = read(line).unwrap();
        assert_eq!(variables.len(), 1, "{line}");
        variables[0].1.clone()
    }

    #[test]
    fn values_have_the_usual_forms() {
        for (line, meant) in [
            ("A=b", "b"),
            ("export A=b", "b"),
            ("export=b", "b"),
            ("\u{feff}A=b\r\n", "b"),
            ("# a comment\n\nA = b  # another\n", "b"),
            ("A=b#c", "b#c"),
            ("A='b c # d'  # e", "b c # d"),
            ("A='b\\n$HOME\"'", "b\\n$HOME\""),
            (r#"A="b\n\"\\\$c""#, "b\n\"\\$c"),
            ("A=\"b\nc\"", "b\nc"),
            ("A=", ""),
            ("A= # a comment", ""),
            ("A=#", ""),
            ("A=b$-$", "b$-$"),
            ("A=a=b==", "a=b=="),
        ] {
            assert_eq!(value(line), meant, "{line}");
        }
    }

    #[test]
    fn a_fault_has_its_place_and_quotes_no_value() {
        for (text, place) in [
            ("A=b\nSESAME sesame\n", ".env:2:8: there is no `=`"),
            ("sesame", ".env:1:7: there is no `=`"),
            ("A=sesame\nB=\"sesame\nsesame\n", ".env:2:3: this quote is not closed"),
            ("A='sesame", ".env:1:3: this quote is not closed"),
            ("B=a\\sesame\n", ".env:1:4: programs differ"),
            ("B=\"a\\sesame\"", ".env:1:5: programs differ"),
            ("B=sesame'x'", ".env:1:9: programs differ"),
            ("B=a$sesame", ".env:1:4: Witgate replaces no `$NAME`"),
            ("B=\"${sesame}\"", ".env:1:4: Witgate replaces no"),
            ("B=a sesame", ".env:1:5: the value has ended"),
            ("B='sesame'sesame", ".env:1:11: the value has ended"),
            ("B='sesame'#", ".env:1:11: the value has ended"),
            ("1B=sesame", ".env:1:3: a name has letters"),
            ("=sesame", ".env:1:1: a name has letters"),
            ("A=sesame\nexport A=sesame\n", ".env:2:8: the variable `A` is set twice"),
            ("A=b\u{1}sesame", ".env:1:4: this is a control character"),
            ("A=b\0", ".env:1:4: this is a control character"),
        ] {
            let fault = parse(".env", text).unwrap_err();
            assert!(fault.to_string().starts_with(place), "{text}: {fault}");
            let drawn = render(&[fault], Style::default());
            assert!(!drawn.contains("sesame"), "{drawn}");
        }
        let fault = parse(".env", "API_KEY=a\\sesame").unwrap_err();
        assert!(render(&[fault], Style::default()).contains("API_KEY="));
    }

    #[test]
    fn a_file_that_others_may_read_is_a_warning() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "A=b\n").unwrap();
        for (mode, warnings) in [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let file = EnvFile::read(&path).map_err(|fault| fault.to_string());
            assert_eq!(file.map(|file| file.warnings.len()), Ok(warnings), "{mode:o}");
        }
        assert!(EnvFile::read(folder.path()).is_err_and(|fault| fault.message().contains("is not a file")));
        let missing = EnvFile::read(&folder.path().join("none"));
        assert!(missing.is_err_and(|fault| fault.message().contains("cannot be read")));
    }

    proptest! {
        #[test]
        fn a_value_in_single_quotes_is_read_as_it_is(value in "[^'\\p{C}]{0,40}") {
            prop_assert_eq!(read(&format!("A='{value}'")), Ok(vec![("A".to_owned(), value)]));
        }

        #[test]
        fn any_text_is_read_or_refused_with_a_place(text in "[A-C=$'\"\\\\ #\n\u{e9}a]{0,60}") {
            if let Err(fault) = read(&text) {
                prop_assert!(fault.starts_with(".env:"), "{fault}");
            }
        }
    }
}
