//! The time of a refresh, with its commit to the disk.

#![expect(clippy::unwrap_used, reason = "a bench stops at what is wrong")]

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, criterion_group, criterion_main};
use secrecy::{ExposeSecret as _, SecretString};
use witgate_accounts::database::grants::{CodePresentation, CodeTerms, GrantTerms, RefreshPresentation};
use witgate_accounts::database::sessions::SessionStart;
use witgate_accounts::database::{AccountDatabase, now_ms};
use witgate_accounts::login_method::LoginMethod;
use witgate_base::digest::sha256;
use witgate_basic::hash::{PasswordHash, RECOMMENDED};
use witgate_config::accounts::{AccountPlace, AccountResource, AccountSettings, SecondFactorRule};

const DAY: Duration = Duration::from_secs(86_400);
const RESOURCE: &str = "https://mcp.example.com/mcp";
const REDIRECT: &str = "http://127.0.0.1/cb";
const VERIFIER: &str = "0123456789012345678901234567890123456789012";

fn settings(place: AccountPlace) -> AccountSettings {
    AccountSettings {
        place,
        issuer: "https://mcp.example.com".to_owned(),
        access_ttl: DAY / 24,
        refresh_ttl: DAY * 30,
        refresh_idle: DAY * 14,
        session_ttl: DAY,
        session_idle: DAY,
        takes_documents: true,
        takes_registrations: true,
        scopes: BTreeMap::new(),
        password_cost: RECOMMENDED,
        service_names: Vec::new(),
        second_factor: SecondFactorRule::Roles(Vec::new()),
        second_factor_remembered: DAY,
        resources: vec![AccountResource {
            url: RESOURCE.to_owned(),
            path: "/mcp".to_owned(),
            name: "Notes".to_owned(),
        }],
        providers: Vec::new(),
    }
}

/// The first refresh token of a new login.
fn logged_in(database: &mut AccountDatabase, settings: &AccountSettings) -> SecretString {
    let ada = database.add_user("ada", &PasswordHash::nobody(), &["ops".to_owned()]).unwrap();
    let start = SessionStart::here(LoginMethod::Password, "");
    let session = database.begin_session(&ada, &start, now_ms()).unwrap().unwrap();
    let terms = GrantTerms {
        user: ada.id,
        client: "client".to_owned(),
        client_name: "Client".to_owned(),
        resource: RESOURCE.to_owned(),
        scopes: Vec::new(),
        logged_in: now_ms(),
    };
    let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
    let code = CodeTerms { redirect: REDIRECT.to_owned(), challenge };
    let code = database.grant(&session, &terms, &code, now_ms()).unwrap().unwrap();
    let code = code.expose_secret();
    let shown =
        CodePresentation { code, client: "client", redirect: REDIRECT, verifier: VERIFIER, resource: None };
    database.exchange(&shown, settings, now_ms()).unwrap().refresh
}

fn refresh(bench: &mut Criterion) {
    // In the directory of the build, because that of temporary files may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let place = AccountPlace::new(folder.path().join("accounts.db"), &folder.path().join("state"));
    let mut database = AccountDatabase::make(&place).unwrap();
    let settings = settings(place);
    let mut token = logged_in(&mut database, &settings);
    bench.bench_function("refresh", |b| {
        b.iter(|| {
            let shown = RefreshPresentation {
                token: token.expose_secret(),
                client: "client",
                scopes: None,
                resource: None,
            };
            token = database.refresh(shown, &settings, now_ms()).unwrap().refresh;
        });
    });
}

criterion_group!(benches, refresh);
criterion_main!(benches);
