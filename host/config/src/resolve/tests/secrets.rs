//! The sources of secrets, and the diagnostics for each that cannot be used.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use super::{Folder, REST, UpstreamTarget, write_private};
use crate::Config;
use crate::diagnostic::Diagnostic;
use crate::environment::Environment;
use crate::resolve::{LoadedConfig, load};

/// A configuration with one upstream that gets these headers, in a folder with a directory of credentials.
fn folder(headers: &str) -> Folder {
    let folder = Folder::with(&format!("[upstreams.a]\nurl = 'http://a'\nheaders = {{ {headers} }}{REST}"));
    let credentials = folder.0.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    write_private(&credentials.join("token"), "of systemd\n");
    write_private(&credentials.join("empty"), "\n");
    folder
}

/// Loads it as a service of systemd would.
fn loaded(folder: &Folder) -> Result<LoadedConfig, Vec<Diagnostic>> {
    let credentials = folder.0.path().join("credentials").display().to_string();
    let variables = [("UPSTREAM_TOKEN", "sesame"), ("CREDENTIALS_DIRECTORY", &credentials)];
    load(Some(&folder.path()), &variables.into_iter().collect())
}

fn headers_of(config: &Config) -> Vec<(String, String)> {
    let of_first = config.upstreams.iter().find(|upstream| upstream.name == "a").unwrap();
    let UpstreamTarget::Url { headers, .. } = &of_first.target else { panic!() };
    headers.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect()
}

#[track_caller]
fn sent(headers: &str) -> Vec<(String, String)> {
    match loaded(&folder(headers)) {
        Ok(loaded) => headers_of(&loaded.config),
        Err(faults) => panic!("{faults:#?}"),
    }
}

/// The errors, one line each.
fn errors(headers: &str) -> Vec<String> {
    let folder = folder(headers);
    let faults = loaded(&folder).err().unwrap_or_default();
    let line = |fault: &Diagnostic| fault.to_string().replace(&format!("{}/", folder.0.path().display()), "");
    faults.iter().map(line).collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn a_credential_of_systemd_is_a_secret() {
    assert_eq!(sent("A = { credential = 'token' }"), [pair("A", "of systemd")]);
    let folder = folder("A = { credential = 'token' }");
    let config = loaded(&folder).unwrap().config;
    assert!(config.files.has(&folder.0.path().join("credentials/token")), "a change is noticed");
    assert_eq!(
        errors(
            "A = { credential = 'none' }, B = { credential = '../secret' }, C = { credential = 'empty' }, D = { credential = '.' }"
        ),
        [
            "witgate.toml:3:13: there is no credential `none` (add `LoadCredential=none:PATH` or `LoadCredentialEncrypted=none:PATH` to the unit)",
            "witgate.toml:3:42: `../secret` cannot be the name of a credential (write the name before the `:` of `LoadCredential=`)",
            "witgate.toml:3:76: the file `credentials/empty` is empty (write the secret into it)",
            "witgate.toml:3:106: `.` cannot be the name of a credential (write the name before the `:` of `LoadCredential=`)",
        ]
    );
    let outside = folder.says();
    assert!(outside.contains("there are no credentials of systemd"), "{outside}");
}

#[test]
fn a_user_and_a_password_become_a_value_of_http_basic() {
    // RFC 7617, section 2: `Aladdin` and `open sesame`.
    let sent = sent("A = { basic = { user = 'Aladdin', password = { file = 'secret' } } }");
    assert_eq!(sent, [pair("A", "Basic QWxhZGRpbjpmcm9tIGEgZmlsZQ==")]);
    assert_eq!(
        errors(
            "A = { basic = { user = 'a:b', password = { env = 'UPSTREAM_TOKEN' } } }, B = { basic = { user = 'a', password = 'hunter2' } }, \
             C = { basic = { user = 'a', password = { file = 'secret' } }, prefix = 'Bearer ' }, D = { basic = { user = 'a' } }, E = { basic = 'x' }"
        )
        .iter()
        .map(|error| error.split_once(": ").unwrap().1)
        .collect::<Vec<_>>(),
        [
            "the user of HTTP Basic contains a colon, which would end it (use a user without a colon)",
            "a secret is in the file as plain text: `upstreams.a.headers.B.basic.password` (put it into an environment variable and write `password = { env = \"NAME\" }`, or into a file and write `password = { file = \"PATH\" }`)",
            "`basic` is the whole value, and this also names `prefix` (leave one of them)",
            "`[upstreams.a.headers.D.basic]` has no `password` (add `password = …`)",
            "`upstreams.a.headers.E.basic` has to be a table, and this is a string (write a table)",
        ]
    );
}

#[test]
fn an_optional_secret_that_is_absent_is_left_out() {
    let headers = "A = { env = 'NONE', optional = true }, B = { file = 'none', optional = true }, \
                   C = { credential = 'none', optional = true }, D = { env = 'UPSTREAM_TOKEN', prefix = 'Bearer ', optional = true }, \
                   E = { basic = { user = 'a', password = { env = 'NONE' } }, optional = true }";
    assert_eq!(sent(headers), [pair("D", "Bearer sesame")]);
    let faults = errors("A = { file = 'empty', optional = true }, B = { credential = '/', optional = true }");
    assert!(
        faults[0].contains("the file `empty` is empty") && faults[1].contains("cannot be the name"),
        "{faults:?}"
    );
    let policy = "[keys.a]\nsecret = { env = 'NONE', optional = true }";
    let said = super::says(&format!("{policy}{REST}"));
    assert!(
        said.contains(
            "2:26: unknown key `optional` in `[keys.a.secret]` (only secrets in `headers` and `env`"
        ),
        "{said}"
    );
}

#[test]
fn a_file_that_others_may_read_is_a_warning_or_an_error() {
    for (settings, is_strict) in [("", false), ("[secrets]\nstrict_files = true\n", true)] {
        let folder = Folder::with(&format!(
            "{settings}[upstreams.a]\nurl = 'http://a'\nheaders = {{ A = {{ file = 'secret' }} }}{REST}"
        ));
        for (mode, is_open) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o620, true)] {
            open(&folder.0.path().join("secret"), mode);
            let said = folder.says();
            let warned = format!(
                "other users may have access to `secret`, whose mode is {mode:04o} (run `chmod 600 secret`)"
            );
            assert_eq!(said.contains(&warned), is_open, "{said}");
            assert_eq!(folder.load().is_err(), is_open && is_strict, "{mode:o} {said}");
        }
    }
}

fn open(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_pipe_in_place_of_a_file_is_refused() {
    let folder = folder("A = { file = 'credentials' }");
    let faults = loaded(&folder).unwrap_err();
    assert!(faults[0].to_string().contains("credentials` is not a file"), "{faults:?}");
}

#[test]
fn a_program_prints_a_secret_of_an_upstream_or_a_policy_and_of_nothing_else() {
    let printed = sent("A = { exec = ['/bin/echo', 'sesame'], prefix = 'Bearer ', ttl_s = 60 }");
    assert_eq!(printed, [pair("A", "Bearer sesame")]);
    let folder = folder("A = { exec = ['/bin/echo', 'sesame'] }, B = 'plain'");
    let config = loaded(&folder).unwrap().config;
    let [lifetime] = &*config.upstreams[0].lifetimes else { panic!("one secret has a lifetime") };
    assert!(lifetime.is_of("A") && !lifetime.is_of("B"));
    assert_eq!(
        errors(
            "A = { exec = [] }, B = { exec = ['/bin/false'] }, C = { exec = ['/bin/echo', 'x'], exec_env = ['NONE'] }, \
             D = { env = 'UPSTREAM_TOKEN', ttl_s = 9 }, E = { exec = 'echo' }, F = { exec = [''] }, G = { exec = ['/bin/echo', 'x'], ttl_s = 0 }"
        ),
        [
            "witgate.toml:3:26: `upstreams.a.headers.A.exec` is empty (name at least one)",
            "witgate.toml:3:32: secret-unavailable: the program `/bin/false` printed no secret: it failed (exit status: 1) (run the command yourself, as the user who starts Witgate and with the variables of `exec_env` only)",
            "witgate.toml:3:63: the program is to get the variable `NONE`, which is not set or empty (set `NONE`, or take it out of `exec_env`)",
            "witgate.toml:3:119: `ttl_s` and `exec_env` are about the program of `exec`, and there is none (leave them out)",
            "witgate.toml:3:175: `upstreams.a.headers.E.exec` has to be a list, and this is a string (put it into brackets: `exec = [\"…\"]`)",
            "witgate.toml:3:185: the command of `exec` is empty (write program and arguments)",
            "witgate.toml:3:247: `upstreams.a.headers.G.ttl_s` is out of range (write a number from 5 to 2592000)",
        ]
    );
    for section in [
        "[signing]\nkey",
        "[audit]\ndirectory = 'log'\nkey",
        "[server.tls]\ncertificate = 'c.pem'\nkey",
        "[network]\nproxy",
    ] {
        let said = super::says(&format!("{section} = {{ exec = ['/bin/echo', 'x'] }}{REST}"));
        assert!(said.contains("this secret cannot come from a program"), "{said}");
    }
}

#[test]
fn a_secret_of_the_store_is_missing_locked_or_damaged_with_its_place() {
    let folder =
        folder("A = { stored = 'github', prefix = 'Bearer ' }, B = { stored = 'githab', optional = true }");
    let said = || {
        let faults = loaded(&folder).err().unwrap_or_default();
        let lines: Vec<_> = faults.iter().map(|fault| format!("{fault}\n")).collect();
        lines.concat().replace(&format!("{}/", folder.0.path().display()), "")
    };
    assert_eq!(
        said(),
        "witgate.toml:3:13: secret-missing: there is no store of secrets `secrets.age` (make it: `witgate secret set github`)\n"
    );
    let sources = crate::resolve::Outline::read(&folder.path()).unwrap().sources(&Environment::default());
    let store = sources.store().unwrap();
    let set = |name: &str| store.change(|secrets| secrets.set(name, Zeroizing::new("sesame".to_owned())));
    set("other").unwrap();
    assert_eq!(
        said(),
        "witgate.toml:3:13: secret-missing: the store of secrets has no `github` (set it: `witgate secret set github`)\n"
    );
    set("githubs").unwrap();
    assert!(said().contains("did you mean `githubs`?"), "{}", said());
    set("github").unwrap();
    let config = loaded(&folder).unwrap().config;
    assert_eq!(headers_of(&config), [pair("A", "Bearer sesame")]);
    for file in ["secrets.age", "witgate.state/secrets.key"] {
        assert!(config.files.has(&folder.0.path().join(file)), "a change of {file} is noticed");
    }
    let encrypted = std::fs::read(store.path()).unwrap();
    set("github").unwrap();
    let newest = std::fs::read(store.path()).unwrap();
    std::fs::write(store.path(), encrypted).unwrap();
    let warnings = loaded(&folder).unwrap().warnings;
    assert!(
        format!("{warnings:?}").contains("is older than the last store that was used here"),
        "{warnings:?}"
    );
    std::fs::write(store.path(), newest.split_last().unwrap().1.split_at(200).0).unwrap();
    assert!(said().starts_with("witgate.toml:3:13: secret-damaged: "), "{}", said());
    let key = folder.0.path().join("witgate.state/secrets.key");
    open(&key, 0o644);
    assert!(
        said().starts_with("witgate.toml:3:13: secret-locked: other users may read the identity"),
        "{}",
        said()
    );
    std::fs::remove_file(key).unwrap();
    assert!(said().starts_with("witgate.toml:3:13: secret-locked: there is no identity"), "{}", said());
}

#[test]
fn the_identity_of_the_store_may_be_a_credential_of_systemd() {
    let folder = folder("A = { stored = 'github' }");
    let text = std::fs::read_to_string(folder.path()).unwrap();
    let settings = "[secrets]\nstore = 'other.age'\nidentity = { credential = 'key' }\n";
    std::fs::write(folder.path(), format!("{settings}{text}")).unwrap();
    let credentials = folder.0.path().join("credentials");
    let environment = [("CREDENTIALS_DIRECTORY", credentials.display().to_string())].into_iter().collect();
    let identity = include_str!("../../secret_store/frozen/identity.txt");
    std::fs::write(credentials.join("key"), identity).unwrap();
    std::fs::write(folder.0.path().join("other.age"), include_str!("../../secret_store/frozen/secrets.age"))
        .unwrap();
    let loaded = load(Some(&folder.path()), &environment).unwrap();
    assert_eq!(headers_of(&loaded.config), [pair("A", "sesame")]);
    assert!(
        folder.says().contains("secret-locked: there are no credentials of systemd"),
        "{}",
        folder.says()
    );
}

#[test]
fn the_identity_of_the_store_has_one_place() {
    for (identity, is_good) in [
        ("{ file = 'a', credential = 'b' }", false),
        ("{}", false),
        ("{ file = 'a' }", true),
        ("{ credential = 'b' }", true),
        ("{ keyring = 'witgate/store' }", true),
        ("{ credential = 'b', keyring = 'witgate/store' }", false),
    ] {
        let said = super::says(&format!("[secrets]\nidentity = {identity}\n{REST}"));
        assert_eq!(said.contains("2:1: the identity has exactly one of"), !is_good, "{said}");
    }
}

#[test]
fn a_secret_of_the_keyring_has_a_lifetime_and_an_entry() {
    let says = |source: &str| errors(&format!("A = {source}")).concat();
    assert!(says("{ keyring = 'alice' }").contains("3:13: an entry of the keyring is written as `SERVICE/"));
    assert!(says("{ keyring = 'a/b', ttl_s = 60 }").contains("3:13: there is no session bus"));
    assert!(says("{ keyring = 'a/b', exec_env = ['X'] }").contains("`exec_env` are about the program"));
    assert!(says("{ keyring = 'a/b', stored = 'x' }").contains("a secret has one source"));
    let key = "[server.tls]\ncertificate = 'c.pem'\nkey = { keyring = 'a/b' }\n";
    assert!(super::says(&format!("{key}{REST}")).contains("this secret cannot come from the keyring"));
    let folder = folder("A = { keyring = 'witgate/github' }");
    let bus = format!("unix:path={}/absent", folder.0.path().display());
    let environment = [("DBUS_SESSION_BUS_ADDRESS", bus)].into_iter().collect();
    let faults = load(Some(&folder.path()), &environment).unwrap_err();
    let said = faults[0].to_string();
    assert!(
        said.contains(
            "secret-unavailable: the entry `witgate/github` of the keyring: the session bus cannot"
        ),
        "{said}"
    );
}
