//! The place of the tenant in a URI.

/// A URI with the tenant in one place.
#[derive(Debug)]
pub(crate) struct Template {
    before: String,
    after: String,
    /// True if more text may follow.
    open: bool,
}

const PLACE: &str = "{tenant}";

impl Template {
    pub(crate) fn new(text: &str) -> Result<Self, &'static str> {
        let (before, after) =
            text.split_once(PLACE).ok_or("write `{tenant}` where the URI names the tenant")?;
        if !before.contains("://") {
            return Err("write the scheme, `crm://`, before `{tenant}`");
        }
        let (after, open) = after.strip_suffix('*').map_or((after, false), |after| (after, true));
        if after.contains(['*', '{', '}']) || before.contains(['*', '{', '}']) {
            return Err("write `{tenant}` once, and `*` only at the end");
        }
        if open && !after.starts_with('/') {
            return Err(
                "write `/` between `{tenant}` and `*`, or one tenant's name could begin with another's",
            );
        }
        Ok(Self { before: before.to_owned(), after: after.to_owned(), open })
    }

    /// The tenant in the URI, if the URI matches this place.
    pub(crate) fn tenant_in<'u>(&self, uri: &'u str) -> Option<&'u str> {
        let rest = uri.strip_prefix(self.before.as_str())?;
        let (tenant, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let fits = match self.open {
            true => rest.starts_with(self.after.as_str()),
            false => rest == self.after,
        };
        fits.then_some(tenant)
    }
}

/// True if the text can be a tenant's name, which stays the same under any decoding.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text != "." && text != ".." && text.chars().all(plain)
}

/// True if the text is a variable `{NAME}` of a resource template (RFC 6570).
pub(crate) fn is_variable(text: &str) -> bool {
    text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).is_some_and(is_name)
}

/// Checks that a URI stays the same when dots are resolved. Otherwise the upstream could find another tenant in it.
pub(crate) fn plain(uri: &str) -> Result<(), &'static str> {
    if uri.contains('\\') || uri.chars().any(char::is_control) {
        return Err("the URI contains a backslash or a control character");
    }
    let path = uri.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    if path.contains("%2e") || path.contains("%2f") || path.contains("%5c") || path.contains("%25") {
        return Err("the URI contains an encoded dot, slash, backslash or per cent sign");
    }
    match path.split('/').any(|segment| matches!(segment, "." | "..")) {
        true => Err("the URI has a segment `.` or `..`"),
        false => Ok(()),
    }
}
