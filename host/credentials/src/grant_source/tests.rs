//! Renewals of grants, at providers with their peculiarities.

use std::sync::Arc;

use futures_util::future::join_all;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::json;
use witgate_config::Network;
use witgate_config::credentials::CredentialSettings;

use super::*;
use crate::fault::OutboundFault;
use crate::login_id::LoginId;
use crate::provider_double::{ProviderDouble, grant_of};
use crate::registry::OutboundCredentials;
use crate::upstream_credential::UpstreamCredential;

fn key() -> GrantKey {
    GrantKey::shared(&"hub".into())
}

/// A stored grant whose access token ends in so many seconds.
fn stored(store: &GrantStore, seconds: i64) {
    let now = clock::since_epoch().as_secs();
    let end = now.saturating_add_signed(seconds);
    let grant = StoredGrant {
        login: LoginId::of_parts(["a"]),
        account: Some("octocat".to_owned()),
        access: "access-0".into(),
        refresh: Some("refresh-0".into()),
        end: Some(end),
        renewal: Some(end.saturating_sub(300)),
        scopes: vec!["repo".to_owned()],
        has_ended: false,
    };
    let lock = store.lock(&key()).unwrap();
    store.write(&key(), &grant, &lock).unwrap();
}

/// The store for the credential of `provider`.
fn store_of(provider: &ProviderDouble, folder: &tempfile::TempDir) -> GrantStore {
    GrantStore::of(grant_of(&mut provider.credential(folder.path())))
}

/// A process: it shares nothing with others but the files.
fn process(credential: &CredentialSettings) -> Arc<UpstreamCredential> {
    let ways = Ways::new(&Network::default());
    OutboundCredentials::new(ways).with(&Arc::new(credential.clone())).unwrap()
}

async fn sent(credential: &UpstreamCredential) -> Result<String, OutboundFault> {
    let mut headers = HeaderMap::new();
    credential.add_to(&mut headers, None).await?;
    Ok(headers[AUTHORIZATION].to_str().unwrap().to_owned())
}

/// The answer of a provider with a new refresh token for each request.
fn rotating(form: &crate::provider_double::FormFields, before: usize) -> (u16, String) {
    let current = format!("refresh-{before}");
    if form.get("refresh_token") != Some(&current) {
        // GitHub answers errors with status 200.
        return (200, json!({ "error": "bad_refresh_token" }).to_string());
    }
    let number = before + 1;
    let answer = json!({
        "access_token": format!("access-{number}"), "refresh_token": format!("refresh-{number}"),
        "token_type": "bearer", "expires_in": 28_800, "scope": "repo,read:user",
    });
    (200, answer.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_at_expiry_in_two_processes_are_one_request() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderDouble::start(rotating);
    let credential = provider.credential(folder.path());
    let store = store_of(&provider, &folder);
    stored(&store, -1);
    let processes = [process(&credential), process(&credential)];
    let calls = (0..100).map(|number| {
        let process = Arc::clone(&processes[number % 2]);
        async move { sent(&process).await }
    });
    let answers = join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("Bearer access-1")), "{answers:?}");
    assert_eq!(provider.forms().len(), 1);
    let kept = store.read(&key()).unwrap().unwrap();
    assert_eq!(kept.refresh.unwrap().expose_secret(), "refresh-1");
    assert_eq!(kept.scopes, ["repo", "read:user"], "separated by commas");
    assert_eq!(kept.account.as_deref(), Some("octocat"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_replaced_by_another_process_or_by_the_provider() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderDouble::start(rotating);
    let credential = provider.credential(folder.path());
    stored(&store_of(&provider, &folder), 3600);
    let [one, other] = [process(&credential), process(&credential)];
    assert_eq!(sent(&one).await.as_deref(), Ok("Bearer access-0"));
    assert_eq!(sent(&other).await.as_deref(), Ok("Bearer access-0"));
    one.renew(None).await.unwrap();
    assert_eq!(sent(&one).await.as_deref(), Ok("Bearer access-1"));
    other.renew(None).await.unwrap();
    assert_eq!(sent(&other).await.as_deref(), Ok("Bearer access-1"), "the other process has it already");
    assert_eq!(provider.forms().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_stays_if_there_is_no_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderDouble::start(|_, _| {
        (200, json!({ "access_token": "new", "token_type": "Bearer", "expires_in": 3599 }).to_string())
    });
    let store = store_of(&provider, &folder);
    stored(&store, -1);
    assert_eq!(sent(&process(&provider.credential(folder.path()))).await.as_deref(), Ok("Bearer new"));
    assert_eq!(store.read(&key()).unwrap().unwrap().refresh.unwrap().expose_secret(), "refresh-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_final_errors_end_a_grant() {
    for (status, error, is_final) in [
        (400, "invalid_grant", true),
        (200, "bad_refresh_token", true),
        (400, "interaction_required", true),
        (401, "invalid_client", false),
        (400, "invalid_request", false),
        (503, "temporarily_unavailable", false),
        (500, "<html>", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let provider = ProviderDouble::start(move |_, _| match error {
            "<html>" => (status, error.to_owned()),
            _ => (status, json!({ "error": error }).to_string()),
        });
        let store = store_of(&provider, &folder);
        stored(&store, -1);
        let credential = process(&provider.credential(folder.path()));
        let fault = sent(&credential).await.unwrap_err();
        let kept = store.read(&key()).unwrap().unwrap();
        assert_eq!((kept.has_ended, kept.refresh.is_none()), (is_final, is_final), "{error}");
        assert_eq!(fault.reason() == "credential-ended", is_final, "{error}: {fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_token_is_used_while_the_provider_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderDouble::start(|_, _| (500, String::new()));
    stored(&store_of(&provider, &folder), 100);
    assert_eq!(sent(&process(&provider.credential(folder.path()))).await.as_deref(), Ok("Bearer access-0"));
    assert_eq!(provider.forms().len(), 1, "it was due");
}

/// Entra refuses requests with `resource`, and those without scopes.
#[tokio::test(flavor = "multi_thread")]
async fn scopes_are_named_only_where_the_provider_needs_them() {
    for names_scopes in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let provider = ProviderDouble::start(rotating);
        let mut credential = provider.credential(folder.path());
        grant_of(&mut credential).names_scopes = names_scopes;
        stored(&store_of(&provider, &folder), -1);
        sent(&process(&credential)).await.unwrap();
        let form = &provider.forms()[0];
        assert_eq!(form.get("scope").map(String::as_str), names_scopes.then_some("repo read:user"));
        assert_eq!(form.get("resource"), None);
        assert_eq!((&*form["client_id"], &*form["client_secret"]), ("gate", "secret"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_needed_first_and_helps_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderDouble::start(rotating);
    let credential = process(&provider.credential(folder.path()));
    let fault = sent(&credential).await.unwrap_err();
    assert_eq!(fault.message(), "Missing required auth: hub. Log in with `witgate credential login hub`.");
    stored(&store_of(&provider, &folder), 3600);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(sent(&credential).await.as_deref(), Ok("Bearer access-0"));
}

/// The directory of grants is away while the provider answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_is_kept_until_it_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let [grants, away] = ["credentials", "away"].map(|name| folder.path().join(name));
    let (from, to) = (grants.clone(), away.clone());
    let provider = ProviderDouble::start(move |form, before| {
        std::fs::rename(&from, &to).unwrap();
        std::fs::write(&from, "").unwrap();
        rotating(form, before)
    });
    let store = store_of(&provider, &folder);
    stored(&store, -1);
    let all = OutboundCredentials::new(Ways::new(&Network::default()));
    let credential = all.with(&Arc::new(provider.credential(folder.path()))).unwrap();
    assert_eq!(sent(&credential).await.unwrap_err().reason(), "provider-unreachable", "it is not used");
    std::fs::remove_file(&grants).unwrap();
    std::fs::rename(&away, &grants).unwrap();
    all.settle().await;
    assert_eq!(store.read(&key()).unwrap().unwrap().refresh.unwrap().expose_secret(), "refresh-1");
    assert_eq!(provider.forms().len(), 1);
}

/// GitHub's OAuth Apps issue such tokens.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_a_refresh_token_lives_until_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderDouble::start(rotating);
    let store = store_of(&provider, &folder);
    for seconds in [None, Some(100)] {
        let end = seconds.map(|seconds| clock::since_epoch().as_secs() + seconds);
        stored(&store, -1);
        let grant = store.read(&key()).unwrap().unwrap();
        let renewal = end.map(|_| 0);
        let grant = StoredGrant { refresh: None, end, renewal, ..grant };
        store.write(&key(), &grant, &store.lock(&key()).unwrap()).unwrap();
        let credential = process(&provider.credential(folder.path()));
        assert_eq!(sent(&credential).await.as_deref(), Ok("Bearer access-0"), "{seconds:?}");
        assert_eq!(credential.renew(None).await.unwrap_err().reason(), "credential-rejected");
        assert!(!store.read(&key()).unwrap().unwrap().has_ended, "{seconds:?}");
        assert_eq!(sent(&credential).await.as_deref(), Ok("Bearer access-0"), "{seconds:?}");
    }
    assert!(provider.forms().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_goes_on_if_nobody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (asked, was_asked) = std::sync::mpsc::sync_channel(1);
    let provider = ProviderDouble::start(move |form, before| {
        asked.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        rotating(form, before)
    });
    let mut credential = provider.credential(folder.path());
    let store = store_of(&provider, &folder);
    stored(&store, -1);
    let (ways, open) = (Ways::new(&Network::default()), OpenRenewals::default());
    let source = GrantSource::of(&"hub".into(), grant_of(&mut credential), &ways, &open).unwrap();
    let call = tokio::spawn(source.issue(TokenOrder::default()));
    tokio::task::spawn_blocking(move || was_asked.recv()).await.unwrap().unwrap();
    call.abort();
    assert!(call.await.is_err());
    open.settle().await;
    assert_eq!(store.read(&key()).unwrap().unwrap().refresh.unwrap().expose_secret(), "refresh-1");
}

#[test]
fn a_check_needs_a_login_that_lasts() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderDouble::start(rotating);
    let credential = provider.credential(folder.path());
    let reason = || process(&credential).check_with_login().err().map(|fault| fault.reason());
    assert_eq!(reason(), Some("credential-missing"));
    let store = store_of(&provider, &folder);
    stored(&store, -1);
    assert_eq!(reason(), None, "it can be renewed");
    let grant = store.read(&key()).unwrap().unwrap();
    let lock = store.lock(&key()).unwrap();
    store.write(&key(), &StoredGrant { refresh: None, ..grant }, &lock).unwrap();
    assert_eq!(reason(), Some("credential-ended"));
    assert!(provider.forms().is_empty());
}

/// The refresh token is not used up for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_not_asked_without_room_for_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderDouble::start(rotating);
    let store = store_of(&provider, &folder);
    stored(&store, 100);
    // A directory in place of the file cannot be removed as one.
    let journal = folder.path().join("credentials/.hub.json.new");
    std::fs::create_dir(&journal).unwrap();
    let credential = process(&provider.credential(folder.path()));
    assert_eq!(sent(&credential).await.unwrap_err().reason(), "provider-unreachable");
    assert!(provider.forms().is_empty());
    std::fs::remove_dir(&journal).unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(sent(&credential).await.as_deref(), Ok("Bearer access-1"));
}

/// A process is killed after the answer, at each point of the write.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_killed_is_finished_or_has_not_happened() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderDouble::start(rotating);
    let [target, journal] =
        ["hub.json", ".hub.json.new"].map(|name| folder.path().join("credentials").join(name));
    let store = store_of(&provider, &folder);
    stored(&store, -1);
    let former = std::fs::read(&target).unwrap();
    sent(&process(&provider.credential(folder.path()))).await.unwrap();
    let new = std::fs::read(&target).unwrap();
    assert!(!journal.exists());
    let refresh = || {
        drop(store.lock(&key()).unwrap());
        store.read(&key()).unwrap().unwrap().refresh.unwrap().expose_secret().to_owned()
    };
    let zeros = [0; 100];
    for written in (0..=new.len()).step_by(7).chain([new.len()]) {
        let is_whole = written == new.len();
        for padding in [&zeros[..], &[]] {
            std::fs::write(&target, &former).unwrap();
            std::fs::write(&journal, [&new[..written], padding].concat()).unwrap();
            assert_eq!(refresh(), if is_whole { "refresh-1" } else { "refresh-0" }, "{written}");
            let left = std::fs::metadata(&journal).ok().map(|journal| journal.len());
            assert_eq!(left, (!is_whole).then_some(0), "{written}");
        }
    }
    // A link is no journal, and is not followed.
    std::os::unix::fs::symlink(&target, &journal).unwrap();
    assert!(store.lock(&key()).is_err());
    assert_eq!(std::fs::read(&target).unwrap(), new);
}

/// A process that has to ask for a login tells that the provider may have used up the refresh token, however many
/// processes have tried it since.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_remembered_until_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderDouble::start(|form, before| match before {
        0 => (503, String::new()),
        _ => rotating(form, before - 1),
    });
    let store = store_of(&provider, &folder);
    let follows_lost_answer = || store.lock(&key()).unwrap().follows_lost_answer();
    stored(&store, -1);
    assert!(!follows_lost_answer());
    // A kill after the room was taken, and another one after that.
    std::fs::write(folder.path().join("credentials/.hub.json.new"), [0; 100]).unwrap();
    assert!(follows_lost_answer() && follows_lost_answer());
    let credential = process(&provider.credential(folder.path()));
    sent(&credential).await.unwrap_err();
    assert!(follows_lost_answer());
    // A new login needs no renewal before.
    stored(&store, -1);
    assert!(!follows_lost_answer());
    sent(&process(&provider.credential(folder.path()))).await.unwrap();
    assert!(!follows_lost_answer());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_no_bearer_token_costs_no_refresh_token() {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderDouble::start(|form, before| {
        let (status, answer) = rotating(form, before);
        (status, if before == 0 { answer.replace("bearer", "N_A") } else { answer })
    });
    let store = store_of(&provider, &folder);
    stored(&store, -1);
    let credential = process(&provider.credential(folder.path()));
    assert_eq!(sent(&credential).await.unwrap_err().reason(), "credential-rejected", "it is not used");
    assert_eq!(store.read(&key()).unwrap().unwrap().refresh.unwrap().expose_secret(), "refresh-1");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(sent(&credential).await.as_deref(), Ok("Bearer access-2"));
}

/// Other programs use such a file, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_user_is_read_and_renewed_in_place() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".mcp-tokens/tokens.json");
    let provider = ProviderDouble::start(rotating);
    let mut settings = provider.credential(folder.path());
    grant_of(&mut settings).file = Some(file.clone());
    let store = GrantStore::of(grant_of(&mut settings));
    assert!(store.read(&key()).unwrap().is_none());
    drop(store.lock(&key()).unwrap());
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    // Another program has written it, for anybody to read.
    std::fs::write(&file, r#"{"access_token":"access-0","refresh_token":"refresh-0","expires_at":1}"#)
        .unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(store.read(&key()).unwrap_err().to_string().contains("chmod 600"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(sent(&process(&settings)).await.as_deref(), Ok("Bearer access-1"));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(r#""refresh_token": "refresh-1""#) && !text.contains("refresh-0"), "{text}");
    assert_eq!(mode(&file), 0o600);
    assert!(!folder.path().join("credentials").exists(), "nothing is elsewhere");
    // With another client, it is no grant.
    grant_of(&mut settings).token.client_id = "other".into();
    assert!(GrantStore::of(grant_of(&mut settings)).read(&key()).unwrap().is_none());
    std::fs::rename(&file, file.with_extension("real")).unwrap();
    std::os::unix::fs::symlink(file.with_extension("real"), &file).unwrap();
    assert!(store.read(&key()).is_err(), "a link is not followed");
}
