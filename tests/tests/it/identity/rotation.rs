//! Changes of keys while Witgate runs.

use std::fs;

use serde_json::{Value, json};
use witgate_tests::recorder::Recorder;

use super::{new_key, serve, setup};
use crate::caller::until;
use crate::swap::rename_over;

/// The ids of the served keys.
async fn served(address: &str) -> Vec<String> {
    let response = reqwest::get(format!("http://{address}/.well-known/jwks.json")).await.unwrap();
    let set: Value = response.json().await.unwrap_or_default();
    let keys = set["keys"].as_array().cloned().unwrap_or_default();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// The id of the key of the last token that was sent.
fn signed_by(recorder: &Recorder) -> Option<String> {
    let record = String::from_utf8(recorder.seen()).unwrap();
    let token = record.lines().filter_map(|line| line.strip_prefix("x-witgate-identity: ")).next_back()?;
    jsonwebtoken::decode_header(token).unwrap().kid
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_at_run_time_and_the_former_one_stays_published_while_configured() {
    let recorder = Recorder::start();
    let setup = setup();
    new_key(&setup, "next.pem");
    let config = format!(
        "[signing]\nkey = {{ file = 'signing.pem' }}\npublished = []\n\
         [upstreams.record]\nurl = '{}'\n[upstreams.record.identity]\ntoken = {{ sub = 'principal' }}",
        recorder.url()
    );
    let (running, callers) = serve(setup, &config, &["ada"]);
    let (address, dir) = (running.address(), running.setup().dir().to_owned());
    let call = async || assert!(callers[0].call("echo", json!({})).await.is_result());
    call().await;
    let first = served(&address).await;
    assert_eq!((first.len(), signed_by(&recorder).as_ref()), (1, first.first()));

    let edit = |from: &str, to: &str| {
        let path = dir.join("witgate.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        rename_over(&path, text.replace(from, to).as_bytes());
    };
    edit("published = []", "published = ['signing.pub']");
    fs::rename(dir.join("next.pem"), dir.join("signing.pem")).unwrap();
    let both = until("both keys", async || Some(served(&address).await).filter(|keys| keys.len() == 2)).await;
    assert_eq!(both[1], first[0]);
    until("the next key to sign", async || {
        call().await;
        (signed_by(&recorder)? == both[0]).then_some(())
    })
    .await;

    edit("published = ['signing.pub']", "published = []");
    until("the former key to go", async || (served(&address).await == both[..1]).then_some(())).await;
    let waiting = running.plugins()["waiting_for_restart"].as_array().unwrap().len();
    assert_eq!(waiting, 0);

    // A key that others may read, and a file that is no key, change nothing.
    rename_over(&dir.join("signing.pem"), b"no key");
    let log = running.await_log("this is not a private key for P-256");
    assert!(log.contains("others may read or write the private key"), "{log}");
    call().await;
    assert_eq!((served(&address).await, signed_by(&recorder)), (both[..1].to_vec(), Some(both[0].clone())));
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_settings_change_at_run_time() {
    let recorder = Recorder::start();
    let config = format!("[upstreams.record]\nurl = '{}'\n# told", recorder.url());
    let (running, callers) = serve(setup(), &config, &["ada"]);
    let call = async || assert!(callers[0].call("echo", json!({})).await.is_result());
    let times = |text: &str| String::from_utf8(recorder.seen()).unwrap().matches(text).count();
    call().await;
    assert_eq!(times("ada"), 0);
    let path = running.setup().dir().join("witgate.toml");
    let text = fs::read_to_string(&path).unwrap();
    let changed = text.replace("# told", "identity.headers = { principal = 'X-Who' }");
    rename_over(&path, changed.as_bytes());
    until("it to be told", async || {
        call().await;
        (times("x-who: keys||ada") > 0).then_some(())
    })
    .await;
    rename_over(&path, text.as_bytes());
    until("it not to be told", async || {
        let before = times("x-who");
        call().await;
        (times("x-who") == before).then_some(())
    })
    .await;
}
