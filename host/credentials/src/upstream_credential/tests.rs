//! The header of each kind of credential.

use futures_util::FutureExt as _;
use http::header::{AUTHORIZATION, HeaderName};
use proptest::prelude::*;
use witgate_config::credentials::{EqualSecret, SecretPlace};

use super::*;

fn known(text: &str) -> Retrieval {
    Retrieval::Secret(EqualSecret(text.to_owned().into()))
}

fn credential(source: OutboundSource, header: HeaderName, prefix: &str) -> UpstreamCredential {
    let (name, prefix) = ("a".into(), prefix.to_owned());
    let settings = Arc::new(CredentialSettings { name, header, prefix, source });
    UpstreamCredential::new(&settings, &Ways::closed(), &OpenRenewals::default()).unwrap()
}

fn sent(credential: &UpstreamCredential) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer of-the-caller"));
    credential.add_to(&mut headers, None).now_or_never().unwrap().unwrap();
    headers
}

#[test]
fn a_static_secret_is_sent_in_its_header_with_its_prefix() {
    let bearer = credential(OutboundSource::Static(known("sesame")), AUTHORIZATION, "Bearer ");
    assert_eq!(sent(&bearer)[AUTHORIZATION], "Bearer sesame");
    assert!(sent(&bearer)[AUTHORIZATION].is_sensitive());
    let key = HeaderName::from_static("x-api-key");
    let key = credential(OutboundSource::Static(known("sesame")), key, "");
    assert_eq!(sent(&key)["x-api-key"], "sesame");
}

/// RFC 7617, section 2.
#[test]
fn a_user_and_a_password_are_sent_as_basic_authentication() {
    let source = OutboundSource::Basic { user: known("Aladdin"), password: known("open sesame") };
    let basic = credential(source, AUTHORIZATION, "Basic ");
    assert_eq!(sent(&basic)[AUTHORIZATION], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

#[test]
fn a_missing_secret_leaves_the_headers_as_they_are() {
    let missing = Retrieval::Missing(SecretPlace::Variable("X".to_owned()));
    for source in [
        OutboundSource::Static(missing.clone()),
        OutboundSource::Basic { user: known("u"), password: missing.clone() },
        OutboundSource::Basic { user: missing, password: known("p") },
    ] {
        let credential = credential(source, AUTHORIZATION, "Bearer ");
        let mut headers = HeaderMap::new();
        let fault = credential.add_to(&mut headers, None).now_or_never().unwrap().unwrap_err();
        assert_eq!(fault.reason(), "credential-missing");
        assert_eq!(credential.check(), Err(fault));
        assert!(headers.is_empty());
    }
}

proptest! {
    #[test]
    fn a_secret_never_prints(secret in "[a-zA-Z0-9]{12,40}") {
        let credential = credential(OutboundSource::Static(known(&secret)), AUTHORIZATION, "Bearer ");
        let printed = format!("{credential:?} {:?} {:?}", credential.settings(), sent(&credential));
        prop_assert!(!printed.contains(&secret));
    }

    #[test]
    fn a_pair_is_read_back_as_it_was(user in "[^:\\pC]{0,20}", password in "\\PC{0,20}") {
        let source = OutboundSource::Basic { user: known(&user), password: known(&password) };
        let headers = sent(&credential(source, AUTHORIZATION, "Basic "));
        let value = headers[AUTHORIZATION].to_str().unwrap();
        let decoded = STANDARD.decode(value.strip_prefix("Basic ").unwrap()).unwrap();
        let decoded = String::from_utf8(decoded).unwrap();
        prop_assert_eq!(decoded.split_once(':'), Some((user.as_str(), password.as_str())));
    }
}
