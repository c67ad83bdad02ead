//! Edits that bring no notification: they are in force within seconds all the same, and an operator sees which files
//! are only polled.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, await_some, may};

use super::{ROLES, config, user};
use crate::caller::{Caller, Upstream, metric};

/// From an edit to the first call that is refused for it. Files are looked at each second; the rest is a reserve for a
/// busy machine.
const BOUND: Duration = Duration::from_secs(20);

/// A gateway with built-ins, and its one key.
fn set_up(upstream: &Upstream) -> (Setup, String) {
    let setup = Setup::new();
    setup.config("", &config(upstream, "", &format!("config = {{ roles = {ROLES} }}")));
    let key = user(&setup);
    (setup, key)
}

/// The store's content after the key is revoked; the store itself stays.
fn revoked(setup: &Setup) -> Vec<u8> {
    let copy = setup.dir().join("copy.toml");
    fs::copy(setup.dir().join("keys.toml"), &copy).unwrap();
    let output = setup.run(&["key", "revoke", "user", "--store", copy.to_str().unwrap(), "--wait", "0s"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(copy).unwrap()
}

/// Waits until the key is refused.
async fn refused(running: &Running, key: &str) {
    let (start, caller) = (Instant::now(), Caller::new(running.url(), Some(key)));
    loop {
        let answer = caller.call("greet", json!({ "name": "you" })).await;
        match answer.reason() {
            Some("revoked") => return,
            _ => assert!(start.elapsed() < BOUND, "a revoked key is good: {answer:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn allowed(running: &Running, key: &str) {
    let answer = Caller::new(running.url(), Some(key)).call("greet", json!({ "name": "you" })).await;
    assert!(answer.is_result(), "{answer:?}");
}

/// The reason why a file is not watched, once the gateway has begun to watch and says so.
fn reason(running: &Running, file: &str) -> String {
    await_some(&format!("{file} among what is not watched"), || {
        let list = running.plugins();
        let unwatched = list["unwatched"].as_array().unwrap();
        let is_meant = |entry: &&Value| Path::new(entry["file"].as_str().unwrap()).ends_with(file);
        Some(unwatched.iter().find(is_meant)?["reason"].as_str().unwrap().to_owned())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_written_through_another_link_is_read_again() {
    let upstream = Upstream::start();
    let (setup, key) = set_up(&upstream);
    let elsewhere = tempfile::tempdir_in(setup.dir()).unwrap();
    let link = elsewhere.path().join("keys.toml");
    fs::hard_link(setup.dir().join("keys.toml"), &link).unwrap();
    let running = setup.serve();
    allowed(&running, &key).await;
    fs::write(link, revoked(running.setup())).unwrap();
    refused(&running, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_mounted_as_a_single_file_is_read_again_and_never_written_in_part() {
    if !may("mounts", &["unshare", "-m", "sh", "-c", "mount --bind /etc/passwd /etc/passwd"]) {
        return;
    }
    let upstream = Upstream::start();
    let (setup, key) = set_up(&upstream);
    let outside = setup.file("outside/keys.toml", fs::read(setup.dir().join("keys.toml")).unwrap());
    let mount = "mount --bind outside/keys.toml keys.toml && exec \"$@\"";
    let running = setup.within(&["unshare", "-m", "sh", "-c", mount, "sh"]).serve();
    allowed(&running, &key).await;
    let why = reason(&running, "keys.toml");
    assert!(why.contains("a mount point itself; mount its directory"), "{why}");
    assert_eq!(metric(&running.admin_url(), "witgate_unwatched_files", "").await, 1.0);

    // Within the mount nothing can be renamed over it.
    let before = fs::read(&outside).unwrap();
    let setup = running.setup();
    let pid = running.pid().to_string();
    let within = ["-m".to_owned(), format!("--wd={}", setup.dir().display()), "-t".to_owned(), pid];
    let revoke = setup.command(&["key", "revoke", "user"]);
    let output = setup.started_by("nsenter", &within, &revoke).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{text}");
    assert!(text.contains("a mount point itself") && text.contains("Mount its directory"), "{text}");
    assert!(text.contains("the file is unchanged"), "{text}");
    assert_eq!(fs::read(&outside).unwrap(), before);
    let left: Vec<_> = fs::read_dir(setup.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{left:?}");
    allowed(&running, &key).await;

    // An editor outside the mount writes the file in place.
    fs::write(&outside, revoked(setup)).unwrap();
    refused(&running, &key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_notifications_a_revocation_is_in_force_within_seconds() {
    let none = "echo 0 > /proc/sys/user/max_inotify_instances";
    if !may("user namespaces with limits of their own", &["unshare", "-Ur", "sh", "-c", none]) {
        return;
    }
    let upstream = Upstream::start();
    let (setup, key) = set_up(&upstream);
    let none = format!("{none}; exec \"$@\"");
    let running = setup.within(&["unshare", "-Ur", "sh", "-c", &none, "sh"]).serve();
    allowed(&running, &key).await;
    for file in ["witgate.toml", "keys.toml"] {
        let why = reason(&running, file);
        assert!(why.contains("the system gives no notifications"), "{why}");
    }
    let output = running.setup().run(&["plugin", "list"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("NOT WATCHED"), "{output:?}");
    fs::write(running.setup().dir().join("keys.toml"), revoked(running.setup())).unwrap();
    refused(&running, &key).await;
}
