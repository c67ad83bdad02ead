//! Parameters in queries and forms. Each may be there once (RFC 6749, section 3.1).

use std::collections::BTreeMap;

use http::header::CONTENT_TYPE;

use super::SiteVisit;

/// The most parameters of a request.
const MOST: usize = 64;

/// The parameters of a request. Values may be secrets, so that only names are printed.
#[derive(Default)]
pub struct OauthParams(BTreeMap<String, String>);

impl std::fmt::Debug for OauthParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A parameter is there twice, or there are too many, or the body is no form.
#[derive(Debug, PartialEq, Eq)]
pub struct BadParams;

impl OauthParams {
    /// The parameters of a query, or of a body in the same form. An empty parameter counts as absent.
    ///
    /// # Errors
    /// If a parameter is there twice, or there are too many.
    pub fn parse(text: &[u8]) -> Result<Self, BadParams> {
        let mut params = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text) {
            let is_second = params.insert(name.into_owned(), value.into_owned()).is_some();
            if is_second || params.len() > MOST {
                return Err(BadParams);
            }
        }
        params.retain(|_, value| !value.is_empty());
        Ok(Self(params))
    }

    /// The parameters of a form.
    pub(super) fn of_form(visit: &SiteVisit) -> Result<Self, BadParams> {
        let content_type = visit.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media = content_type.and_then(|text| text.split(';').next()).unwrap_or_default();
        match media.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            true => Self::parse(&visit.body),
            false => Err(BadParams),
        }
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_there_once() {
        let params = OauthParams::parse(b"a=1&b=&c=%26+x").unwrap();
        assert_eq!((params.get("a"), params.get("b"), params.get("c")), (Some("1"), None, Some("& x")));
        assert_eq!(OauthParams::parse(b"a=1&a=1").unwrap_err(), BadParams);
        assert_eq!(OauthParams::parse(b"a=&a=1").unwrap_err(), BadParams);
    }
}
