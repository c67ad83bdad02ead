//! The addresses of the pages.

use percent_encoding::percent_decode_str;

use witgate_config::credentials::connect_path;

/// The path before the name of a credential.
const ROOT: &str = "/connect/";

/// The address of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct PageAddress {
    /// The name of the credential.
    pub(super) credential: String,
    pub(super) kind: PageKind,
    /// The text of the link. Empty: there is none.
    pub(super) link: String,
}

/// The kind of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageKind {
    /// The page of a link.
    Start,
    /// The address to which a provider leads back.
    Callback,
    /// The address of the form that disconnects an account.
    Disconnect,
}

impl PageKind {
    pub(super) fn methods(self) -> &'static str {
        match self {
            Self::Start => "GET, POST",
            Self::Callback => "GET",
            Self::Disconnect => "POST",
        }
    }
}

impl PageAddress {
    /// None: there is no page at this path.
    pub(in crate::http) fn of(path: &str, query: Option<&str>) -> Option<Self> {
        let rest = path.strip_prefix(ROOT)?;
        let (name, kind) = match rest.split_once('/') {
            None => (rest, PageKind::Start),
            Some((name, "callback")) => (name, PageKind::Callback),
            Some((name, "disconnect")) => (name, PageKind::Disconnect),
            Some(_) => return None,
        };
        let credential = percent_decode_str(name).decode_utf8().ok().filter(|name| !name.is_empty())?;
        Some(Self { credential: credential.into_owned(), kind, link: link_in(query) })
    }

    /// The address of a form, relative to that of the page, so that a proxy may add a prefix to both.
    pub(super) fn action(&self, rest: &str) -> String {
        let path = connect_path(&self.credential);
        let name = path.strip_prefix(ROOT).unwrap_or_default();
        match self.kind {
            PageKind::Start => format!("{name}{rest}"),
            PageKind::Callback | PageKind::Disconnect => format!("../{name}{rest}"),
        }
    }
}

/// The link in a query. Two of them are none.
fn link_in(query: Option<&str>) -> String {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut links = pairs.filter(|(name, _)| name == "t");
    match (links.next(), links.next()) {
        (Some((_, link)), None) => link.into_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_credential_and_a_page() {
        let of = |path| PageAddress::of(path, Some("t=x")).map(|page| (page.credential, page.kind));
        assert_eq!(of("/connect/hub"), Some(("hub".to_owned(), PageKind::Start)));
        assert_eq!(of("/connect/hub/callback"), Some(("hub".to_owned(), PageKind::Callback)));
        assert_eq!(of("/connect/my%20hub/disconnect"), Some(("my hub".to_owned(), PageKind::Disconnect)));
        for other in
            ["/connect", "/connect/", "/connect//callback", "/connect/hub/", "/connect/hub/x", "/mcp"]
        {
            assert_eq!(of(other), None, "{other}");
        }
        let link = |query| PageAddress::of("/connect/hub", query).unwrap().link;
        assert_eq!(link(Some("t=a%2Db")), "a-b");
        for none in [None, Some(""), Some("t=a&t=b"), Some("T=a")] {
            assert_eq!(link(none), "", "{none:?}");
        }
    }

    #[test]
    fn forms_lead_to_the_page_behind_any_prefix() {
        for (path, rest) in [
            ("/connect/my%20hub", ""),
            ("/connect/my%20hub", "/disconnect"),
            ("/connect/my%20hub/callback", "/disconnect"),
        ] {
            let page = url::Url::parse(&format!("https://gate.example.com/tools{path}?t=x")).unwrap();
            let action = PageAddress::of(path, None).unwrap().action(rest);
            assert_eq!(page.join(&action).unwrap().path(), format!("/tools/connect/my%20hub{rest}"));
        }
    }
}
