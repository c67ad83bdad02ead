//! The text format of log events: a logfmt reader finds one value for each name.

use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use super::entry::{is_sentence, push};

/// The format of fields. Each text is in quotes, except for a message in which nothing looks like a field.
pub(super) struct FieldFormat;

impl<'w> FormatFields<'w> for FieldFormat {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Visitor { line: String::new() };
        fields.record(&mut visitor);
        writer.write_str(visitor.line.trim_start())
    }
}

struct Visitor {
    line: String,
}

impl Visitor {
    fn value(&mut self, field: &Field, value: impl fmt::Display) {
        // Writing to a string does not fail.
        let _ = write!(self.line, " {}={value}", field.name());
    }

    fn text(&mut self, field: &Field, text: &str) {
        if field.name() == "message" && is_sentence(text) {
            let _ = write!(self.line, " {text}");
            return;
        }
        let _ = write!(self.line, " {}=\"", field.name());
        push(&mut self.line, text);
        self.line.push('"');
    }
}

impl Visit for Visitor {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.value(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.value(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.value(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, &format!("{value:?}"));
    }
}
