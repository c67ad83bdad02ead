//! Issuer identifiers, and the URLs of an issuer's metadata.

/// True if `text` can be an issuer with published metadata (RFC 8414, section 2): an absolute `https` or
/// `http` URL without user, query and fragment.
pub fn is_issuer(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let authority = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_graphic() && !"?#\\\"<>".contains(c);
    !authority.is_empty() && !authority.contains('@') && text.chars().all(plain)
}

/// The possible URLs of the metadata of `issuer`, in the order to try. RFC 8414 (section 3.1) and OpenID
/// Connect with the well-known part before the issuer's path come first. OpenID Connect Discovery (section 4),
/// with that part after the path, is last. If the issuer has no path, the last two are the same.
pub fn metadata_urls(issuer: &str) -> Vec<String> {
    let bare = issuer.trim_end_matches('/');
    let authority = bare.find("://").map_or(0, |scheme| scheme + 3);
    let end =
        bare.get(authority..).and_then(|rest| rest.find('/')).map_or(bare.len(), |slash| authority + slash);
    let (origin, path) = bare.split_at_checked(end).unwrap_or((bare, ""));
    let mut urls = vec![
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{origin}/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        urls.push(format!("{bare}/.well-known/openid-configuration"));
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::{is_issuer, metadata_urls};

    #[test]
    fn an_issuer_is_a_bare_url() {
        for good in
            ["https://idp.example.com", "https://idp.example.com/a/b/", "http://127.0.0.1:8080/realms/x"]
        {
            assert!(is_issuer(good), "{good}");
        }
        for bad in [
            "",
            "idp.example.com",
            "https://",
            "https:///path",
            "ftp://idp.example.com",
            "HTTPS://idp.example.com",
            "https://user@idp.example.com",
            "https://idp.example.com?x",
            "https://idp.example.com/#x",
            "https://idp.example.com/ x",
            "https://idp.exämple.com",
        ] {
            assert!(!is_issuer(bad), "{bad}");
        }
    }

    #[test]
    fn the_well_known_part_is_tried_before_and_after_the_path() {
        assert_eq!(
            metadata_urls("https://a.example"),
            [
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ]
        );
        // The slash at the end is taken away first.
        assert_eq!(metadata_urls("https://a.example/"), metadata_urls("https://a.example"));
        assert_eq!(
            metadata_urls("https://a.example:8443/realms/x"),
            [
                "https://a.example:8443/.well-known/oauth-authorization-server/realms/x",
                "https://a.example:8443/.well-known/openid-configuration/realms/x",
                "https://a.example:8443/realms/x/.well-known/openid-configuration",
            ]
        );
    }
}
