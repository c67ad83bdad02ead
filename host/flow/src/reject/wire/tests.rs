use std::sync::Arc;

use super::*;
use witgate_component::failure::Failure;

const METADATA: Option<&str> = Some("https://a.example/.well-known/oauth-protected-resource/mcp");

fn challenge(rejection: &Rejection, metadata: Option<&str>) -> Option<String> {
    let headers = rejection.wire().headers(metadata, &[]);
    headers.get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned())
}

fn refused() -> Rejection {
    Rejection::Refused { policy: None, reason: "expired".to_owned(), detail: Some("key 7 of bob".to_owned()) }
}

fn denied(scopes: &[&str]) -> Rejection {
    let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
    let denial =
        Denial { reason: "scope".to_owned(), scopes, detail: Some("rule 3".to_owned()), ..Denial::default() };
    Rejection::Denied { policy: Some(Arc::from("rbac")), denial }
}

#[test]
fn oauth_clients_are_sent_to_a_login_only_if_there_is_one() {
    assert_eq!(challenge(&Rejection::NoCredential, None).unwrap(), r#"Bearer realm="mcp""#);
    assert_eq!(challenge(&refused(), None).unwrap(), r#"Bearer error="invalid_token", realm="mcp""#);
    assert_eq!(
        challenge(&Rejection::NoCredential, METADATA).unwrap(),
        r#"Bearer resource_metadata="https://a.example/.well-known/oauth-protected-resource/mcp""#
    );
    assert_eq!(
        challenge(&refused(), METADATA).unwrap(),
        r#"Bearer error="invalid_token", resource_metadata="https://a.example/.well-known/oauth-protected-resource/mcp""#
    );
}

#[test]
fn user_names_are_challenged_for_if_another_credential_would_help() {
    let basic = |rejection: &Rejection| rejection.wire().basic_challenge("my tools");
    for rejection in [Rejection::NoCredential, refused()] {
        assert_eq!(basic(&rejection).unwrap(), r#"Basic realm="my tools", charset="UTF-8""#);
    }
    let busy = Failed {
        policy: "people".into(),
        failure: Failure::Busy,
        detail: String::new(),
        retry_after: Some(2),
    };
    let malformed = Rejection::Malformed(MessageFault::BadCredential("it is empty".to_owned()));
    for rejection in [denied(&[]), denied(&["a"]), malformed, Rejection::Failed(busy)] {
        assert_eq!(basic(&rejection), None, "{rejection:?}");
    }
}

#[test]
fn scopes_are_requested_only_if_they_would_help() {
    assert_eq!(challenge(&denied(&[]), METADATA), None);
    assert_eq!(
        challenge(&denied(&["a", "b\"", "offline_access", "c"]), None).unwrap(),
        r#"Bearer error="insufficient_scope", scope="a c", realm="mcp""#
    );
}

#[test]
fn a_refusal_does_not_mention_keys_users_or_rules() {
    for rejection in [refused(), denied(&[]), denied(&["a"])] {
        let body = rejection.wire().body(Some("1"));
        let body = std::str::from_utf8(&body).unwrap();
        for secret in ["bob", "key 7", "rule 3", "rbac"] {
            assert!(!body.contains(secret), "{body}");
        }
    }
}

#[test]
fn a_failure_is_answered_as_temporary() {
    let rejection = Rejection::Failed(Failed {
        policy: Arc::from("keys"),
        failure: Failure::Timeout,
        detail: "50 ms".to_owned(),
        retry_after: None,
    });
    let wire = rejection.wire();
    assert_eq!((wire.status, wire.code), (StatusCode::SERVICE_UNAVAILABLE, 503));
    assert_eq!(wire.headers(None, &[])[RETRY_AFTER], "1");
    assert!(wire.body(None).starts_with(br#"{"jsonrpc":"2.0","id":null,"error":{"#));
}

#[test]
fn a_fault_of_an_upstream_has_its_own_code() {
    let wire = Rejection::Upstream { fault: UpstreamFault::Timeout, message: "late".to_owned() }.wire();
    assert_eq!(wire.status(true), StatusCode::OK);
    assert_eq!(wire.status(false), StatusCode::GATEWAY_TIMEOUT);
    let body: Value = serde_json::from_slice(&wire.body(Some("\"x\""))).unwrap();
    assert_eq!(
        body,
        json!({"jsonrpc": "2.0", "id": "x", "error": {"code": 504, "message": "late", "data": {"reason": "upstream-timeout"}}})
    );
}

#[test]
fn error_codes_of_the_protocol_are_used() {
    let cases = [
        (Rejection::Malformed(MessageFault::Parse(String::new())), 400, -32700),
        (Rejection::Malformed(MessageFault::InvalidRequest(String::new())), 400, -32600),
        (Rejection::Malformed(MessageFault::UnknownMethod(String::new())), 404, -32601),
        (Rejection::Malformed(MessageFault::InvalidParams(String::new())), 400, -32602),
        (Rejection::Malformed(MessageFault::HeaderMismatch(String::new())), 400, -32020),
        (
            Rejection::Malformed(MessageFault::UnsupportedVersion {
                requested: "x".into(),
                supported: vec![],
            }),
            400,
            -32022,
        ),
        (Rejection::Malformed(MessageFault::TooLarge), 413, 413),
        (Rejection::SessionNotFound, 404, 404),
        (Rejection::RateLimited { retry_after: 3 }, 429, 429),
    ];
    for (rejection, status, code) in cases {
        let wire = rejection.wire();
        assert_eq!((wire.status.as_u16(), wire.code), (status, code), "{rejection:?}");
    }
}

#[test]
fn a_challenge_names_the_scopes_if_there_is_a_login() {
    let scopes = ["base".to_owned(), "offline_access".to_owned(), "with space".to_owned(), "more".to_owned()];
    let wire_of = |rejection: &Rejection, metadata| {
        let headers = rejection.wire().headers(metadata, &scopes);
        headers.get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned()).unwrap()
    };
    for rejection in [Rejection::NoCredential, refused()] {
        assert!(
            wire_of(&rejection, METADATA).ends_with(r#", scope="base more""#),
            "{}",
            wire_of(&rejection, METADATA)
        );
        assert!(!wire_of(&rejection, None).contains("scope"), "nobody is sent to a login that there is not");
    }
    let step_up = wire_of(&denied(&["write"]), METADATA);
    assert!(step_up.contains(r#"scope="write""#) && !step_up.contains("base"), "{step_up}");
}

#[test]
fn an_endpoint_may_answer_a_final_denial_with_status_200() {
    let wire_of = |rejection: &Rejection| rejection.wire_at(Denials::JsonRpc);
    let wire = wire_of(&denied(&[]));
    assert_eq!((wire.status(true), wire.code, &*wire.reason), (StatusCode::OK, 403, "scope"));
    assert_eq!(wire.body(Some("1")), denied(&[]).wire().body(Some("1")));
    assert_eq!(wire.status(false), StatusCode::FORBIDDEN, "a notification has no answer to tell it in");
    for cured in [
        denied(&["mcp:write"]),
        refused(),
        Rejection::NoCredential,
        Rejection::Malformed(MessageFault::ForbiddenHost),
    ] {
        assert_eq!(wire_of(&cured), cured.wire());
    }
    assert_eq!(denied(&[]).wire_at(Denials::Http).status, StatusCode::FORBIDDEN);
}

#[test]
fn a_denial_that_ends_by_itself_is_too_many_requests() {
    let with = |scopes: &[&str], retry_after| {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let denial = Denial { reason: "quota".to_owned(), scopes, retry_after, detail: None };
        Rejection::Denied { policy: None, denial }
    };
    let rejection = with(&[], Some(7));
    let wire = rejection.wire();
    assert_eq!((wire.status, wire.code, rejection.code()), (StatusCode::TOO_MANY_REQUESTS, 429, 429));
    assert_eq!((&*wire.reason, &*wire.message), ("quota", "Not now: try again in 7 s"));
    assert_eq!(
        (&wire.data["retryAfter"], wire.headers(None, &[]).get("retry-after").is_some()),
        (&json!(7), true)
    );
    for (rejection, seconds) in [(with(&["write"], Some(7)), Some(7)), (with(&[], None), None)] {
        let wire = rejection.wire();
        assert_eq!((wire.status, rejection.code(), wire.retry_after), (StatusCode::FORBIDDEN, 403, seconds));
    }
}

#[test]
fn a_denied_tool_may_be_a_result() {
    let message = |rejection: Rejection, tool_call| RejectedMessage {
        id: Some("1".into()),
        tool_call,
        ..rejection.into()
    };
    for (era, kind) in [(Era::Stateful, json!(null)), (Era::Stateless, json!("complete"))] {
        let wire = message(denied(&[]), Some(era)).wire_at(Denials::Result);
        let body: Value = serde_json::from_slice(&wire.body(Some("1"))).unwrap();
        let result = &body["result"];
        assert_eq!(
            (wire.status(true), &result["isError"], &body["id"]),
            (StatusCode::OK, &json!(true), &json!(1))
        );
        assert_eq!(result["content"], json!([{ "type": "text", "text": wire.message }]));
        assert_eq!(
            (&result["_meta"]["witgate/refusal"]["reason"], &result["resultType"]),
            (&json!("scope"), &kind)
        );
    }
    // Clients act on the challenge of these, and nobody called a tool.
    for other in [
        message(denied(&["mcp:write"]), Some(Era::Stateful)),
        message(refused(), Some(Era::Stateful)),
        message(denied(&[]), None),
        RejectedMessage { id: None, ..message(denied(&[]), Some(Era::Stateful)) },
    ] {
        assert_eq!(other.wire_at(Denials::Result), other.rejection.wire());
    }
    assert!(
        message(Rejection::RateLimited { retry_after: 1 }, Some(Era::Stateful))
            .wire_over_stdio(Denials::Result)
            .as_result
            .is_some()
    );
}

#[test]
fn refusals_over_stdio_name_variables_and_not_headers() {
    for (rejection, reason) in [(Rejection::NoCredential, "no-credential"), (refused(), "expired")] {
        let wire = RejectedMessage::from(rejection).wire_over_stdio(Denials::Http);
        assert_eq!((wire.code, &*wire.reason), (401, reason));
        assert!(wire.message.contains("MCP_API_KEY") && !wire.message.contains("Authorization"), "{wire:?}");
    }
    let denial = RejectedMessage::from(denied(&[]));
    assert_eq!(denial.wire_over_stdio(Denials::Http), denial.rejection.wire());
}

#[test]
fn a_malformed_credential_is_an_invalid_request() {
    let wire = Rejection::Malformed(MessageFault::BadCredential("it is empty".to_owned())).wire();
    assert_eq!(wire.status, StatusCode::BAD_REQUEST);
    assert_eq!(wire.headers(None, &[])[WWW_AUTHENTICATE], r#"Bearer error="invalid_request", realm="mcp""#);
}

#[test]
fn a_reached_limit_says_which_one_and_when_to_retry() {
    let hit = |bound| Rejection::LimitReached(LimitHit::new(&"calls".into(), bound, 11_000_000_001));
    let rate = hit(ExhaustedBound::Rate { count: 100, period: std::time::Duration::from_secs(60) }).wire();
    let headers = rate.headers(None, &[]);
    assert_eq!(headers["ratelimit-policy"], "\"calls\";q=100;w=60");
    assert_eq!(headers["ratelimit"], "\"calls\";r=0;t=12");
    assert_eq!(
        (rate.status, &headers["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"12".parse().unwrap())
    );
    let body: Value = serde_json::from_slice(&rate.body(Some("7"))).unwrap();
    let data = json!({ "reason": "rate-limited", "limit": "calls", "retryAfter": 12 });
    assert_eq!(
        (&body["id"], &body["error"]["code"], &body["error"]["data"]),
        (&json!(7), &json!(429), &data)
    );
    let at_once = hit(ExhaustedBound::Concurrent(5)).wire().headers(None, &[]);
    assert_eq!(at_once["ratelimit-policy"], "\"calls\";q=5;qu=\"concurrent-requests\"");
}
