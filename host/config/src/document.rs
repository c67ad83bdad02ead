//! The text of a configuration, with the places of all its values.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Part, SourceText};

/// A parsed TOML text.
pub struct Document<'t> {
    root: Spanned<DeTable<'t>>,
    source: Arc<SourceText>,
    is_whole: bool,
}

impl<'t> Document<'t> {
    /// Reads `text`, which diagnostics call `name`. Parts that cannot be parsed are left out and reported.
    pub fn parse(name: &str, text: &'t str) -> (Self, Vec<Diagnostic>) {
        let source = Arc::new(SourceText::new(name, text));
        let (root, errors) = DeTable::parse_recoverable(text);
        let is_whole = errors.iter().all(|error| error.message().contains("duplicate key"));
        let report = |error: toml::de::Error| {
            let end = text.len();
            let span = error.span().unwrap_or(end..end);
            Diagnostic::error(format!("this is not TOML: {}", error.message())).at(&source, span)
        };
        let faults = errors.into_iter().map(report).collect();
        (Self { root, source, is_whole }, faults)
    }

    /// True if nothing of the text is left out but names that are there twice, so that further faults are real ones.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The whole document.
    pub fn root(&self) -> &Spanned<DeTable<'t>> {
        &self.root
    }

    /// True if there is a value at `path`, valid or not.
    pub fn has(&self, path: &[&str]) -> bool {
        self.find(path).is_some()
    }

    /// The value at `path`.
    pub fn value(&self, path: &[&str]) -> Option<&Spanned<DeValue<'t>>> {
        self.find(path)?.value
    }

    /// The keys of the table at `path`.
    pub fn keys(&self, path: &[&str]) -> Vec<String> {
        let table = match self.find(path) {
            Some(DocumentEntry { value: Some(value), .. }) => value.get_ref().as_table(),
            Some(DocumentEntry { value: None, .. }) => Some(self.root.get_ref()),
            None => None,
        };
        table.into_iter().flatten().map(|(key, _)| key.get_ref().to_string()).collect()
    }

    /// True if there is a list at `path`.
    pub(crate) fn is_list(&self, path: &[&str]) -> bool {
        let value = self.find(path).and_then(|found| found.value);
        value.is_some_and(|value| value.get_ref().as_array().is_some())
    }

    /// True if there is an empty list at `path`.
    pub(crate) fn is_empty_list(&self, path: &[&str]) -> bool {
        let value = self.find(path).and_then(|found| found.value);
        value.and_then(|value| value.get_ref().as_array()).is_some_and(|items| items.is_empty())
    }

    /// An error at the value of `path`.
    pub fn error(&self, path: &[&str], message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(message).at(&self.source, self.place(path)).in_part(Part::of(path))
    }

    /// A fault that has no place yet, at the value of `path`.
    pub(crate) fn placed(&self, fault: Diagnostic, path: &[&str]) -> Diagnostic {
        fault.at(&self.source, self.place(path))
    }

    /// A warning at the value of `path`.
    pub fn warning(&self, path: &[&str], message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(message).at(&self.source, self.place(path))
    }

    /// An error at a part of the text.
    pub(crate) fn error_at(&self, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(message).at(&self.source, span)
    }

    /// The position of `path`: the value if it fits on a line, or else its key. For a missing setting, it is the table
    /// that would contain it.
    fn place(&self, path: &[&str]) -> Range<usize> {
        let mut path = path;
        loop {
            match (self.find(path), path.split_last()) {
                (Some(DocumentEntry { key, value: Some(value) }), _) => return shown(key, value),
                (None, Some((_, parent))) => path = parent,
                _ => return 0..0,
            }
        }
    }

    fn find<'a>(&'a self, path: &[&str]) -> Option<DocumentEntry<'a, 't>> {
        let mut found = DocumentEntry { key: None, value: None };
        for step in path {
            found = match found.value.map(Spanned::get_ref) {
                None => member(self.root.get_ref(), step)?,
                Some(DeValue::Table(table)) => member(table, step)?,
                Some(DeValue::Array(items)) => {
                    let value = items.get(step.parse::<usize>().ok()?)?;
                    // The key is that of the whole list.
                    DocumentEntry { key: None, value: Some(value) }
                }
                Some(_) => return None,
            };
        }
        Some(found)
    }
}

struct DocumentEntry<'a, 't> {
    key: Option<Range<usize>>,
    /// None: the document itself.
    value: Option<&'a Spanned<DeValue<'t>>>,
}

fn member<'a, 't>(table: &'a DeTable<'t>, name: &str) -> Option<DocumentEntry<'a, 't>> {
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    Some(DocumentEntry { key: Some(key.span()), value: Some(value) })
}

fn shown(key: Option<Range<usize>>, value: &Spanned<DeValue<'_>>) -> Range<usize> {
    match value.get_ref() {
        DeValue::Table(_) => key.unwrap_or_else(|| value.span()),
        _ => value.span(),
    }
}
