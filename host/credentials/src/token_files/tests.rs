//! Token files over the life of a credential.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use http::header::AUTHORIZATION;
use serde_json::json;
use witgate_config::Network;
use witgate_config::credentials::{CredentialSettings, EqualSecret, OutboundSource, Retrieval, SecretPlace};
use witgate_services::network::Ways;

use super::*;
use crate::grant_key::GrantKey;
use crate::grant_store::{GrantStore, StoredGrant};
use crate::provider_double::{ProviderDouble, grant_of};
use crate::registry::OutboundCredentials;

fn key() -> GrantKey {
    GrantKey::shared(&"hub".into())
}

fn credential(settings: CredentialSettings) -> Arc<UpstreamCredential> {
    OutboundCredentials::new(Ways::new(&Network::default())).with(&Arc::new(settings)).unwrap()
}

fn fixed(value: Retrieval) -> Arc<UpstreamCredential> {
    let source = OutboundSource::Static(value);
    let prefix = "Bearer ".to_owned();
    credential(CredentialSettings { name: "a".into(), header: AUTHORIZATION, prefix, source })
}

fn known(secret: &str) -> Arc<UpstreamCredential> {
    fixed(Retrieval::Secret(EqualSecret(secret.into())))
}

fn files(parent: &Path, credential: Arc<UpstreamCredential>) -> (TokenFiles, PathBuf) {
    let parent = parent.join("tokens");
    let files = TokenFiles::new(&parent, BTreeMap::from([("TOKEN_FILE".to_owned(), credential)])).unwrap();
    let path = files.variables().next().unwrap().1.to_owned();
    (files, path)
}

async fn until(what: &str, mut is_done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_done() {
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_the_secret_alone_and_is_private() {
    let base = tempfile::tempdir().unwrap();
    let (files, path) = files(base.path(), known("sesame"));
    assert!(!path.exists(), "before the first process");
    files.begin().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "sesame");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    files.replace(BTreeMap::from([("TOKEN_FILE".to_owned(), known("new"))]));
    until("the new one", || std::fs::read_to_string(&path).unwrap() == "new").await;
    files.end();
    assert!(!path.exists());
    drop(files);
    until("the directory", || !path.parent().unwrap().exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_makes_no_file_and_takes_the_former_one_away() {
    let base = tempfile::tempdir().unwrap();
    let (files, path) = files(base.path(), known("sesame"));
    files.begin().await;
    assert!(path.exists());
    let missing = fixed(Retrieval::Missing(SecretPlace::File));
    files.replace(BTreeMap::from([("TOKEN_FILE".to_owned(), Arc::clone(&missing))]));
    until("it is gone", || !path.exists()).await;
    assert_eq!(files.check(&missing).unwrap_err().reason(), "provider-unreachable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_has_removed_is_written_again() {
    let base = tempfile::tempdir().unwrap();
    let credential = known("sesame");
    let (files, path) = files(base.path(), Arc::clone(&credential));
    files.begin().await;
    for removed in [path.parent().unwrap(), &base.path().join("tokens")] {
        std::fs::remove_dir_all(removed).unwrap();
        // The next look may be first.
        assert!(files.check(&credential).is_err() || path.exists());
        until("the file", || std::fs::read_to_string(&path).is_ok_and(|token| token == "sesame")).await;
        assert!(files.check(&credential).is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_former_credential_is_not_that_of_the_new_one() {
    let base = tempfile::tempdir().unwrap();
    let (files, path) = files(base.path(), known("sesame"));
    files.begin().await;
    let source = OutboundSource::Static(Retrieval::Missing(SecretPlace::File));
    let other =
        CredentialSettings { name: "b".into(), header: AUTHORIZATION, prefix: "Bearer ".to_owned(), source };
    let other = credential(other);
    files.replace(BTreeMap::from([("TOKEN_FILE".to_owned(), Arc::clone(&other))]));
    assert!(!path.exists(), "at once");
    assert!(files.check(&other).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_written_is_not_in_its_file() {
    let base = tempfile::tempdir().unwrap();
    let (files, path) = files(base.path(), known("sesame"));
    files.begin().await;
    // A directory that is not empty can be neither replaced nor removed as a file.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir_all(path.join("x")).unwrap();
    let new = known("new");
    files.replace(BTreeMap::from([("TOKEN_FILE".to_owned(), Arc::clone(&new))]));
    let problem = || files.files["TOKEN_FILE"].state.lock().problem.is_some();
    until("an error", problem).await;
    assert!(files.check(&new).is_err());
    std::fs::remove_dir_all(&path).unwrap();
    until("the file", || std::fs::read_to_string(&path).is_ok_and(|token| token == "new")).await;
    assert!(files.check(&new).is_ok());
}

/// The permissions, as somebody sees them who looks all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_token_replaces_the_file_which_is_never_wider() {
    let base = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let provider = ProviderDouble::start(|_, before| {
        let (access, refresh) = (format!("access-{}", before + 1), format!("refresh-{}", before + 1));
        let answer = json!({ "access_token": access, "refresh_token": refresh, "expires_in": 3600 });
        (200, answer.to_string())
    });
    let mut settings = provider.credential(state.path());
    let store = GrantStore::of(grant_of(&mut settings));
    let credential = credential(settings);
    let (files, path) = files(base.path(), Arc::clone(&credential));
    files.begin().await;
    assert!(!path.exists(), "nobody has logged in");
    let grant = StoredGrant {
        account: None,
        access: "access-0".into(),
        refresh: Some("refresh-0".into()),
        end: None,
        renewal: None,
        scopes: Vec::new(),
        has_ended: false,
    };
    store.write(&key(), &grant, &store.lock(&key()).unwrap()).unwrap();
    until("the login", || std::fs::read_to_string(&path).is_ok_and(|token| token == "access-0")).await;
    assert!(files.check(&credential).is_ok());
    let stop = Arc::new(AtomicBool::new(false));
    let (watched, is_over) = (path.parent().unwrap().to_owned(), Arc::clone(&stop));
    let watching = std::thread::spawn(move || {
        let mut seen = 0;
        while !is_over.load(Ordering::Relaxed) {
            for entry in std::fs::read_dir(&watched).unwrap().flatten() {
                if let Ok(found) = entry.metadata() {
                    assert_eq!(found.permissions().mode() & 0o077, 0, "{:?}", entry.path());
                    seen += 1;
                }
            }
        }
        seen
    });
    for number in 1..20 {
        credential.renew(None).await.unwrap();
        let expected = format!("access-{number}");
        let current = || std::fs::read_to_string(&path).unwrap();
        until("the renewed token", || current() == expected).await;
    }
    stop.store(true, Ordering::Relaxed);
    assert!(watching.join().unwrap() > 0);
    store.remove(&key(), &store.lock(&key()).unwrap()).unwrap();
    until("the logout", || !path.exists()).await;
}
