//! Components that must be signed, with signatures of the real `minisign`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use witgate_tests::gateway::{Running, Setup, component};

use super::{PATIENT, ROLES, another, config, policy, rename_over, user};
use crate::caller::{Caller, Upstream, until};

/// An author with a signing key.
struct Signer {
    secret: PathBuf,
    public: String,
}

impl Signer {
    fn new(dir: &Path, name: &str) -> Self {
        let (secret, public) = (dir.join(format!("{name}.key")), dir.join(format!("{name}.pub")));
        minisign(Command::new("minisign").args(["-G", "-W", "-s"]).arg(&secret).arg("-p").arg(&public));
        let public = fs::read_to_string(&public).unwrap();
        Self { secret, public: public.lines().nth(1).unwrap().to_owned() }
    }

    /// The signature of `file`, as the content of another.
    fn sign(&self, file: &Path) -> Vec<u8> {
        let out = file.with_extension("signature");
        minisign(
            Command::new("minisign")
                .arg("-S")
                .arg("-s")
                .arg(&self.secret)
                .arg("-m")
                .arg(file)
                .arg("-x")
                .arg(&out),
        );
        fs::read(out).unwrap()
    }
}

fn minisign(command: &mut Command) {
    let output = command.output().expect("Debian's package `minisign`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn with_signers(setup: &Setup, upstream: &Upstream, signers: &[&Signer], more: &str) {
    let keys: Vec<_> = signers.iter().map(|signer| &signer.public).collect();
    let rules = format!(
        "component = \"plugins/rbac.wasm\"\nsigned_by = {keys:?}\n{more}\n{PATIENT}\n\
         config = {{ roles = {ROLES} }}"
    );
    setup.config("", &config(upstream, "", &rules));
}

async fn refused(running: &Running, why: &str) {
    until(why, async || policy(running, "rules")["error"].as_str()?.contains(why).then_some(())).await;
    assert_eq!(policy(running, "rules")["state"], json!("candidate-refused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_signed_components_go_live() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    let (owner, stranger) = (Signer::new(setup.dir(), "owner"), Signer::new(setup.dir(), "stranger"));
    let file = setup.component("rbac");
    let signature = setup.dir().join("plugins/rbac.wasm.minisig");
    fs::write(&signature, owner.sign(&file)).unwrap();
    with_signers(&setup, &upstream, &[&owner], "");
    let key = user(&setup);
    let elsewhere = |name: u8| {
        let content = another(&fs::read(component("rbac")).unwrap(), name);
        let path = setup.file("elsewhere.wasm", &content);
        (content, path)
    };
    let (second, path) = elsewhere(b'2');
    let (by_owner, by_stranger) = (owner.sign(&path), stranger.sign(&path));
    let (third, path) = elsewhere(b'3');
    let third_by_owner = owner.sign(&path);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let digest = || policy(&running, "rules")["digest"].clone();
    let first = digest();

    rename_over(&file, &second);
    refused(&running, "is not a signature of").await;
    fs::write(&signature, by_stranger).unwrap();
    refused(&running, "is not a signature of").await;
    fs::write(&signature, "RW nothing of the kind").unwrap();
    refused(&running, "is not a minisign signature").await;
    fs::remove_file(&signature).unwrap();
    refused(&running, "cannot be read").await;
    assert_eq!(digest(), first, "nothing of that took over");
    assert!(caller.call("greet", json!({})).await.is_result());

    fs::write(&signature, by_owner).unwrap();
    until("the signed one", async || (digest() != first).then_some(())).await;
    let second_digest = digest();

    // In the recommended order: the signature first.
    fs::write(&signature, third_by_owner).unwrap();
    refused(&running, "is not a signature of").await;
    rename_over(&file, &third);
    until("the next one", async || (digest() != second_digest).then_some(())).await;
    assert_eq!(policy(&running, "rules")["state"], json!("live"));
}

/// A component with a bad signature is never replaced by the built-in, with any `fallback`.
#[test]
fn a_bad_signature_prevents_the_start() {
    let upstream = Upstream::start();
    let setup = Setup::new();
    let (owner, stranger) = (Signer::new(setup.dir(), "owner"), Signer::new(setup.dir(), "stranger"));
    let file = setup.component("rbac");
    fs::write(setup.dir().join("plugins/rbac.wasm.minisig"), stranger.sign(&file)).unwrap();
    with_signers(&setup, &upstream, &[&owner], "fallback = \"builtin\"");
    user(&setup);
    let output = setup.run(&["serve"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("is not a\n") || text.contains("rbac.wasm.minisig is not a"), "{text}");

    with_signers(&setup, &upstream, &[&owner, &stranger], "");
    let output = setup.run(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
