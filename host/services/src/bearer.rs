//! The bearer tokens that policies may send. A policy that could send any token could use one that it has guessed or
//! kept, in the name of a caller who is not there.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use secrecy::{ExposeSecret as _, SecretString};
use witgate_plugin::HttpRequest;

/// True if each bearer token in the headers of `request` is the credential that the hook judges.
pub(crate) fn may_send_bearer(request: &HttpRequest, judged: Option<&SecretString>) -> bool {
    let is_judged = |value: &str| {
        let token = value.strip_prefix("Bearer ");
        token.zip(judged).is_some_and(|(token, judged)| {
            verify_slices_are_equal(token.as_bytes(), judged.expose_secret().as_bytes()).is_ok()
        })
    };
    let mut values = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    values.all(|(_, value)| is_judged(value))
}

#[cfg(test)]
mod tests {
    use witgate_plugin::{ClientAuth, Method};

    use super::*;

    #[test]
    fn only_the_judged_credential_is_sent() {
        let judged = SecretString::from("sesame");
        for (header, value, of_hook, of_no_hook) in [
            ("Authorization", "Bearer sesame", true, false),
            ("aUTHORIZATION", "Bearer sesame", true, false),
            ("authorization", "Bearer sesam", false, false),
            ("authorization", "Bearer other", false, false),
            ("authorization", "Bearer ", false, false),
            ("authorization", "bearer sesame", false, false),
            ("authorization", "Basic sesame", false, false),
            ("authorization", "sesame", false, false),
            ("accept", "Bearer other", true, true),
        ] {
            for method in [Method::Get, Method::Post] {
                let mut request = HttpRequest {
                    method,
                    url: "https://a.example/".to_owned(),
                    headers: vec![(header.to_owned(), value.to_owned())],
                    body: Vec::new(),
                    client_auth: ClientAuth::None,
                    share: false,
                };
                assert_eq!(may_send_bearer(&request, Some(&judged)), of_hook, "{header}: {value}");
                assert_eq!(may_send_bearer(&request, None), of_no_hook, "{header}: {value}");
                request.headers.push(("Authorization".to_owned(), "Bearer other".to_owned()));
                assert!(!may_send_bearer(&request, Some(&judged)), "{header}: {value}");
            }
        }
    }
}
