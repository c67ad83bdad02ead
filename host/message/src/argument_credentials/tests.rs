use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const KEY: &str = "wgk_0123456789abcdef0123456789abcdef01234567890";

fn declared(policy: &str, name: &str, on: &str) -> CredentialArgument {
    let on = [on.parse().unwrap()].into();
    CredentialArgument { policy: policy.into(), name: name.into(), on, watched: false }
}

fn auth_token() -> [CredentialArgument; 1] {
    [declared("keys", "auth_token", "*")]
}

fn call(arguments: &str) -> Call {
    let body = format!(
        r#"{{"jsonrpc":"2.0","method":"tools/call","params":{{"name":"add", "arguments": {arguments} ,"_meta":{{"progressToken":"t"}}}},"id":"7"}}"#
    );
    Call::parse(body.into()).unwrap()
}

/// The remaining arguments, and the credential of `keys`.
fn cut(arguments: &str) -> (String, Option<String>) {
    let (call, taken) = call(arguments).cut(&auth_token()).unwrap();
    let value = taken.and_then(|taken| {
        taken.shown.first_of(&[Scheme::Argument], &[], Some("keys")).map(|own| own.value.to_owned())
    });
    assert_eq!((call.id(), call.progress_token()), (Some(r#""7""#), Some(r#""t""#)));
    assert_eq!(call.meta(), Some(r#"{"progressToken":"t"}"#));
    (call.arguments().unwrap().to_owned(), value)
}

fn refusal(result: Result<impl Sized, MessageFault>) -> String {
    match result {
        Err(MessageFault::BadCredential(what)) => what,
        Err(other) => panic!("refused with {other:?}"),
        Ok(_) => panic!("not refused"),
    }
}

#[test]
fn the_member_and_one_comma_are_cut_and_nothing_else() {
    for (arguments, rest) in [
        (r#"{"auth_token":"K","a":1,"b":2}"#, r#"{"a":1,"b":2}"#),
        (r#"{"a":1,"auth_token":"K","b":2}"#, r#"{"a":1,"b":2}"#),
        (r#"{"a":1,"b":2,"auth_token":"K"}"#, r#"{"a":1,"b":2}"#),
        (r#"{"auth_token":"K"}"#, "{}"),
        (r#"{ "auth_token" : "K" }"#, "{ }"),
        (r#"{ "auth_token" : "K" , "a" : 1.50 }"#, r#"{ "a" : 1.50 }"#),
        (r#"{ "a" : 1.50 , "auth_token" : "K" }"#, r#"{ "a" : 1.50  }"#),
        (r#"{"auth\u005ftoken":"K","a":"x,y"}"#, r#"{"a":"x,y"}"#),
        (r#"{"a":",","\u0061uth_token":"K","b":[1,{"c":2}]}"#, r#"{"a":",","b":[1,{"c":2}]}"#),
    ] {
        assert_eq!(cut(&arguments.replace('K', KEY)), (rest.to_owned(), Some(KEY.to_owned())), "{arguments}");
    }
}

#[test]
fn other_members_stay() {
    for arguments in [r#"{"a":{"auth_token":"K"}}"#, r#"{"auth_token2":"K"}"#, r#"{"auth-token":"K"}"#, "{}"]
    {
        assert_eq!(cut(arguments), (arguments.to_owned(), None));
    }
}

#[test]
fn the_value_is_read_without_its_escapes() {
    assert_eq!(cut(r#"{"auth_token":"a\u002fb\/\"c"}"#).1.as_deref(), Some(r#"a/b/"c"#));
}

#[test]
fn an_argument_that_is_no_credential_is_refused() {
    let long = format!(r#"{{"auth_token":"{}"}}"#, "x".repeat(MAX_LENGTH + 1));
    for (arguments, what) in [
        (r#"{"auth_token":7}"#, "the argument `auth_token` must be a string"),
        (r#"{"auth_token":null}"#, "the argument `auth_token` must be a string"),
        (r#"{"auth_token":["K"]}"#, "the argument `auth_token` must be a string"),
        (r#"{"auth_token":""}"#, "the argument `auth_token` is empty"),
        (&long, "the argument `auth_token` is too long"),
        (r#"{"Auth_Token":"K"}"#, "an argument differs from `auth_token` only in case"),
        (r#"{"auth_to\u212Aen":"K"}"#, "an argument differs from `auth_token` only in case"),
    ] {
        assert_eq!(refusal(call(arguments).cut(&auth_token())), what, "{arguments}");
    }
    let longest = format!(r#"{{"auth_token":"{}"}}"#, "x".repeat(MAX_LENGTH));
    assert!(call(&longest).cut(&auth_token()).is_ok());
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"auth_token":"K","auth\u005ftoken":"K"}}}"#;
    assert!(Call::parse(twice.into()).is_err());
}

#[test]
fn only_the_declared_tools_have_the_argument() {
    let of_others = [declared("keys", "auth_token", "get_*")];
    let (rest, taken) = call(r#"{"auth_token":7}"#).cut(&of_others).unwrap();
    assert_eq!((rest.arguments(), taken.is_none()), (Some(r#"{"auth_token":7}"#), true));
    let prompt = r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"add","arguments":{"auth_token":"K"}}}"#;
    let (rest, taken) = Call::parse(prompt.into()).unwrap().cut(&auth_token()).unwrap();
    assert_eq!((rest.body(), taken.is_none()), (&Bytes::from(prompt), true));
}

#[test]
fn a_call_has_one_credential() {
    let both = [declared("keys", "auth_token", "*"), declared("tokens", "jwt_token", "*")];
    let taken = |arguments: &str| call(arguments).cut(&both).unwrap().1.unwrap();
    let different = r#"{"auth_token":"K","jwt_token":"T"}"#;
    let what = refusal(taken(different).add_to(&mut Credentials::default()));
    assert_eq!(what, "two arguments have different credentials: send one with each call");

    let mut shown = Credentials::default();
    taken(r#"{"auth_token":"K","jwt_token":"K"}"#).add_to(&mut shown).unwrap();
    let of = |policy| shown.first_of(&[Scheme::Argument], &[], Some(policy)).map(|own| own.value);
    assert_eq!([of("keys"), of("tokens"), of("others")], [Some("K"), Some("K"), None]);
    assert!(shown.first_of(&[Scheme::Argument], &[], None).is_none(), "it is for these policies alone");

    let with = |scheme, value: &str| {
        let mut shown = Credentials::default();
        shown.add(scheme, None, value.into());
        shown
    };
    for scheme in [Scheme::Bearer, Scheme::Header, Scheme::Basic, Scheme::Dpop] {
        let what = refusal(taken(r#"{"auth_token":"K"}"#).add_to(&mut with(scheme, "other")));
        assert_eq!(what, "an argument has another credential than the request: send one with each call");
        let mut same = with(scheme, "K");
        taken(r#"{"auth_token":"K"}"#).add_to(&mut same).unwrap();
        assert_eq!(same.items().count(), 1, "the same credential at two places is one");
    }
    let mut certificate = with(Scheme::Certificate, "PEM");
    taken(r#"{"auth_token":"K"}"#).add_to(&mut certificate).unwrap();
    assert_eq!(certificate.items().count(), 2);
}

#[test]
fn an_argument_of_a_shadow_is_cut_and_does_not_count() {
    let shadow = [CredentialArgument { watched: true, ..declared("trial", "auth_token", "*") }];
    let (rest, taken) = call(r#"{"auth_token":"K"}"#).cut(&shadow).unwrap();
    assert_eq!(rest.arguments(), Some("{}"));
    let mut shown = Credentials::default();
    taken.unwrap().add_to(&mut shown).unwrap();
    assert!(shown.is_empty() && shown.items().next().is_none());
    assert!(shown.first_of(&[Scheme::Argument], &[], Some("trial")).is_some());
}

#[test]
fn headers_that_repeat_the_argument_are_removed() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("mcp-param-auth-token", "another text"),
        ("mcp-param-authtoken", "x"),
        ("mcp-param-key", "K\u{20}"),
        ("mcp-param-wrapped", "=?base64?Sw==?="),
        ("mcp-param-region", "west"),
        ("mcp-name", "K"),
    ] {
        headers.append(name, value.parse().unwrap());
    }
    let (_, taken) = call(r#"{"auth_token":"K"}"#).cut(&auth_token()).unwrap();
    taken.unwrap().remove_headers(&mut headers);
    let mut left: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["mcp-name", "mcp-param-region"]);
}

/// JSON with blanks between all of its tokens, so that places in it are unusual.
fn spaced(value: &Value, blank: &str) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| spaced(item, blank)).collect();
            format!("[{blank}{}{blank}]", items.join(&format!("{blank},{blank}")))
        }
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| {
                format!("{}{blank}:{blank}{}", json!(key), spaced(value, blank))
            };
            let members: Vec<_> = members.iter().map(member).collect();
            format!("{{{blank}{}{blank}}}", members.join(&format!("{blank},{blank}")))
        }
        other => other.to_string(),
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1000_i64..1000).prop_map(Value::from),
        "[a-z,{}\\[\\]\"\\\\:\u{e9} ]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-d]{1,3}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Members in any order, with those that are declared at any place.
fn arguments() -> impl Strategy<Value = Vec<(String, Value)>> {
    let other = prop::collection::btree_map("[f-z]{1,4}", value(), 0..5);
    let own = (any::<bool>(), any::<bool>(), "[!-~]{1,20}");
    (other, own)
        .prop_map(|(other, (has_key, has_token, text))| {
            let mut members: Vec<_> = other.into_iter().collect();
            members.extend(has_key.then(|| ("auth_token".to_owned(), json!(text))));
            members.extend(has_token.then(|| ("jwt_token".to_owned(), json!(text))));
            members
        })
        .prop_shuffle()
}

proptest! {
    /// A message that is cut and then parsed is one that is parsed and then loses the members.
    #[test]
    fn cut_then_parse_is_parse_then_remove(members in arguments(), blank in "[ \t\n]{0,3}") {
        let declared = [declared("keys", "auth_token", "*"), declared("tokens", "jwt_token", "add")];
        let member = |(key, value): &(String, Value)| format!("{}{blank}:{}", json!(key), spaced(value, &blank));
        let texts: Vec<_> = members.iter().map(member).collect();
        let written = format!("{{{blank}{}{blank}}}", texts.join(&format!("{blank},{blank}")));
        let call = call(&written);
        let mut whole: Value = serde_json::from_slice(call.body()).unwrap();
        let (cut, taken) = call.clone().cut(&declared).unwrap();

        let arguments = whole["params"]["arguments"].as_object_mut().unwrap();
        let removed = ["auth_token", "jwt_token"].map(|name| arguments.remove(name));
        prop_assert_eq!(taken.is_some(), removed.iter().any(Option::is_some));
        prop_assert_eq!(serde_json::from_slice::<Value>(cut.body()).unwrap(), whole);

        // Another parse of the same bytes finds everything at the same places.
        let again = Call::parse(cut.body().clone()).unwrap();
        prop_assert_eq!(cut.kind(), again.kind());
        prop_assert_eq!((cut.arguments(), cut.meta()), (again.arguments(), again.meta()));
        prop_assert_eq!((cut.id(), cut.progress_token()), (again.id(), again.progress_token()));
        let (left, nothing) = again.cut(&declared).unwrap();
        prop_assert!(nothing.is_none() && left.body() == cut.body());

        // Everything else keeps its bytes: they are those of the message, without some in one or two places.
        if taken.is_none() {
            prop_assert_eq!(cut.body(), call.body());
        }
    }
}
