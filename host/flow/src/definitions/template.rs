//! The approved templates of resources (RFC 6570) that a URI can come from.

use witgate_config::pins::{ApprovedDefinitions, EntryKind};

/// The approved templates that can expand to `uri`, or that `uri` is itself.
pub(super) fn covering<'a>(approved: &'a ApprovedDefinitions, uri: &'a str) -> impl Iterator<Item = &'a str> {
    approved
        .names(EntryKind::ResourceTemplate)
        .filter(move |template| *template == uri || covers(template, uri))
}

/// True if the template can expand to a URI: its literal parts occur in this order, and anything may be between them. A
/// template without expressions is one URI.
fn covers(template: &str, uri: &str) -> bool {
    let Some((first, mut rest)) = template.split_once('{') else { return template == uri };
    let Some(mut uri) = uri.strip_prefix(first) else { return false };
    loop {
        let Some((_, behind)) = rest.split_once('}') else { return false };
        let Some((literal, next)) = behind.split_once('{') else { return uri.ends_with(behind) };
        // The first place is the best one: it leaves the most for the parts that follow.
        let Some((_, left)) = uri.split_once(literal) else { return false };
        (uri, rest) = (left, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_covers_its_expansions() {
        for (template, uri, covered) in [
            ("file:///{path}", "file:///a/b", true),
            ("file:///{path}", "file:///", true),
            ("file:///{path}", "http://a", false),
            ("x:/{a}/b/{c}", "x:/1/b/2", true),
            ("x:/{a}/b/{c}", "x:/1/c/2", false),
            ("x:/{a}/b", "x:/1/b", true),
            ("x:/{a}/b", "x:/1/b/2", false),
            ("x:/{a}/b", "x:/b/1/b", true),
            ("x:/b", "x:/b", true),
            ("x:/b", "x:/bb", false),
            ("x:/{a", "x:/1", false),
            ("x:/{+a}{?b,c}", "x:/1/2?b=3", true),
        ] {
            assert_eq!(covers(template, uri), covered, "{template} {uri}");
        }
    }

    #[test]
    fn an_approved_template_covers_and_another_does_not() {
        let template = (EntryKind::ResourceTemplate, "x:/{a}".to_owned(), [1; 32]);
        let approved =
            ApprovedDefinitions::new([template, (EntryKind::Resource, "y:/{a}".to_owned(), [1; 32])]);
        assert_eq!(covering(&approved, "x:/1").collect::<Vec<_>>(), ["x:/{a}"]);
        assert_eq!(covering(&approved, "x:/{a}").count(), 1);
        assert_eq!(covering(&approved, "y:/1").count(), 0);
    }
}
