//! Secrets that a recording must not hold, in any encoding.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::testbed::{
    CLIENT_SECRET, EMAIL, INACTIVE, JWT_SECRET, OPAQUE, POLICIES, Recording, Testbed, UPSTREAMS,
};

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_and_no_secret_is_in_a_recording() {
    let testbed = Testbed::start();
    for upstream in UPSTREAMS {
        let recordings: Vec<_> =
            POLICIES.iter().map(|policy| testbed.record(&format!("{policy}-{upstream}"), &[])).collect();
        let mut secrets = testbed.call(upstream).await;
        secrets.extend(
            [&testbed.ada, &testbed.ben, JWT_SECRET, CLIENT_SECRET, OPAQUE, INACTIVE].map(str::to_owned),
        );
        for recorded in recordings.into_iter().map(Recording::end) {
            for secret in &secrets {
                for trace in traces(secret) {
                    assert!(!recorded.text.contains(&trace), "{trace} of {secret} is in\n{}", recorded.text);
                }
            }
            for personal in [EMAIL, "eve.online", "lovelace"] {
                assert!(!recorded.text.contains(personal), "{personal} is in\n{}", recorded.text);
            }
        }
        std::fs::remove_dir_all(testbed.gateway.setup().dir().join("recorded")).unwrap();
    }
}

/// On request claims are written down, but no credential.
#[tokio::test(flavor = "multi_thread")]
async fn claims_are_recorded_on_request() {
    let testbed = Testbed::start();
    let recording = testbed.record("tokens-own", &["--claims"]);
    let secrets = testbed.call("own").await;
    let recorded = recording.end();
    assert!(recorded.text.contains(EMAIL), "{}", recorded.text);
    assert_eq!(testbed.test(&recorded, &[]).code, Some(0));
    for trace in secrets.iter().flat_map(|token| traces(token)) {
        assert!(!recorded.text.contains(&trace), "{trace} is in\n{}", recorded.text);
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&recorded.file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

/// A decision that depends on an unrecorded claim cannot be replayed; it is left out, with a note.
#[tokio::test(flavor = "multi_thread")]
async fn cases_that_need_other_claims_are_omitted_unless_requested() {
    let testbed = Testbed::start_with(&format!(
        "[[policies.rules-guest.config.conditions]]\non = \"echo\"\nclaim = \"email\"\nequals = \"{EMAIL}\"\n"
    ));
    for (more, cases, left_out) in [(&[][..], 3, 3), (&["--claims"][..], 5, 0)] {
        let recording = testbed.record("rules-guest", more);
        testbed.call("guest").await;
        let recorded = recording.end();
        let text = format!("{}\n{}", recorded.report, recorded.text);
        assert_eq!(recorded.report["cases"], cases, "{text}");
        let counts = recorded.report["left_out"].as_object().unwrap().values();
        assert_eq!(counts.map(|count| count.as_u64().unwrap()).sum::<u64>(), left_out, "{text}");
        assert_eq!(recorded.text.contains("# Left out: 3"), left_out == 3, "{text}");
        // The rule itself contains it once.
        assert_eq!(recorded.text.matches(EMAIL).count() > 1, more == ["--claims"], "{text}");
        assert_eq!(testbed.test(&recorded, &[]).code, Some(0), "{text}");
        std::fs::remove_file(&recorded.file).unwrap();
    }
}

/// A text, its parts, and both in other encodings; of base64 at each of the three places in which it may begin.
fn traces(secret: &str) -> Vec<String> {
    let parts = secret.split('.').chain([secret]).filter(|part| part.len() >= 12);
    let encoded = parts.flat_map(|part| {
        let hex: String = part.bytes().map(|byte| format!("{byte:02x}")).collect();
        let shifted = (0..3).flat_map(|shift| {
            let bytes = &part.as_bytes()[shift..];
            let whole = &bytes[..bytes.len() / 3 * 3];
            [STANDARD.encode(whole), STANDARD_NO_PAD.encode(whole), URL_SAFE_NO_PAD.encode(whole)]
        });
        let reversed: String = part.chars().rev().collect();
        [part.to_owned(), hex.to_uppercase(), hex, reversed].into_iter().chain(shifted).collect::<Vec<_>>()
    });
    encoded.collect()
}
