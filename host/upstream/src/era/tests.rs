use super::*;

fn judged(answer: &'static str) -> Option<(bool, Option<bool>)> {
    let verdict = judge_discover(&ProbeResult::Said(Bytes::from_static(answer.as_bytes())))?;
    Some((verdict.speaks.modern, verdict.speaks.legacy))
}

/// The answers of real servers, from the project's protocol notes.
#[test]
fn the_eras_of_real_servers_are_recognized() {
    let older = Some((false, None));
    let modern = Some((true, None));
    let cases = [
        (
            r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: Server not initialized"},"id":null}"#,
            older,
        ),
        (
            r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Missing session ID"}}"#,
            older,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}"#, older),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Invalid request parameters"}}"#, older),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2026-07-28"]}}"#, modern),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2025-11-25"]}}"#, older),
        (
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"","data":{"supported":["2026-07-28"]}}}"#,
            modern,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"","data":{"supported":["2025-11-25"]}}}"#,
            older,
        ),
        ("not json", older),
    ];
    for (answer, expected) in cases {
        assert_eq!(judged(answer), expected, "{answer}");
    }
    assert_eq!(judge_discover(&ProbeResult::Unknown), None);
    assert!(!judge_discover(&ProbeResult::Nothing).unwrap().speaks.modern);
}

#[test]
fn a_wrong_verdict_is_corrected() {
    let eras =
        EraCache::known(EraVerdict { speaks: SpokenEras { legacy: None, modern: true }, discovered: None });
    eras.note_legacy(true);
    assert_eq!(eras.remembered().unwrap().speaks.legacy, Some(true));
    let eras = EraCache::known(EraVerdict::known(true, false));
    eras.note_legacy(false);
    assert_eq!(eras.remembered(), None, "neither era: it has changed, and is asked again");
}

#[test]
fn a_verdict_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("eras/x.json");
    let eras = EraCache::kept_in(file.clone());
    assert_eq!(eras.remembered(), None);
    eras.note_legacy(false);
    assert_eq!(EraCache::kept_in(file.clone()).remembered(), Some(EraVerdict::known(false, true)));
    let eras = EraCache::kept_in(file.clone());
    eras.note_legacy(true);
    assert_eq!(EraCache::kept_in(file.clone()).remembered(), Some(EraVerdict::known(true, true)));
    fs::write(&file, "{ damaged").unwrap();
    assert_eq!(EraCache::kept_in(file).remembered(), None);
}
