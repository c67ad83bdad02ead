//! `[audit]`.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use witgate_audit::note::CheckpointSigner;
use witgate_audit::{AuditLog, CheckpointPlace, LogSettings, SegmentRules, SyncMode, WitnessPlace};
use witgate_testing::keys::PRIVATE;

use super::{Folder, REST, good, with_rest};
use crate::{AuditKey, AuditOverflow};

/// Checks the diagnostics of a configuration beside files with keys.
#[track_caller]
fn with_keys(config: &str, expected: &[&str]) {
    let folder = Folder::with(&format!("{config}{REST}"));
    let write = |name: &str, text: &str, mode| {
        let path = folder.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    };
    let key = CheckpointSigner::new_pem().unwrap();
    write("audit.pem", &key, 0o600);
    write("public.pem", &key, 0o644);
    write("other.pem", PRIVATE, 0o600);
    write("damaged/private-key.pem", "no key", 0o600);
    let said = folder.says();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{config}");
}

#[test]
fn an_audit_needs_a_directory_alone() {
    let audit = good(&format!("[audit]\ndirectory = 'log'\n{REST}")).audit.unwrap();
    assert!(audit.directory.ends_with("log") && audit.directory.is_absolute());
    assert!(matches!(audit.key, AuditKey::InDirectory { origin: None }));
    assert_eq!((audit.sync, audit.unavailable), (SyncMode::Batched, AuditOverflow::Deny));
    assert_eq!((audit.rules.size, audit.rules.age), (64 << 20, Duration::from_secs(24 * 3600)));
    assert!(audit.rules.compress && audit.rules.keep.is_none() && audit.checkpoint_to.is_empty());
    with_rest(
        "[audit]\nsync = 'batched'",
        &[
            "witgate.toml:1:2: nothing says where the audit log is (write `directory = \"PATH\"`; the directory is made if it does not exist)",
        ],
    );
}

#[test]
fn all_faults_of_an_audit_are_reported_at_once() {
    with_rest(
        "[audit]\ndirectry = 'log'\nsync = 'before'\nunavailable = 'allow'\nrotate_size = '64 MiB'\nrotate_size_mib = 0\nkeep_days = '7'\ncompress = 1",
        &[
            "witgate.toml:1:2: nothing says where the audit log is (write `directory = \"PATH\"`; the directory is made if it does not exist)",
            "witgate.toml:2:1: unknown key `directry` in `[audit]` (did you mean `directory`?)",
            "witgate.toml:3:8: `audit.sync` cannot be `before` (write one of `batched` and `before-answer`)",
            "witgate.toml:4:15: `audit.unavailable` cannot be `allow` (write one of `deny` and `count`)",
            "witgate.toml:5:1: unknown key `rotate_size` in `[audit]` (known here: `arguments_clear`, `arguments_masked`, `checkpoint_to`, `compress`, `directory`, `keep_days`, `key`, `lines`, `node`, `origin`, `rotate_age_h`, `rotate_size_mib`, `sync` and `unavailable`)",
            "witgate.toml:6:19: `audit.rotate_size_mib` is out of range (write a number from 1 to 4096)",
            "witgate.toml:7:13: `audit.keep_days` has to be a whole number, and this is a string (write the number without quotes)",
            "witgate.toml:8:12: `audit.compress` has to be `true` or `false`, and this is a whole number (write `true` or `false`)",
        ],
    );
}

#[test]
fn only_a_private_key_for_ed25519_signs() {
    with_keys("[audit]\ndirectory = 'log'\nkey = { file = 'audit.pem' }\norigin = 'example.com/audit'", &[]);
    let help =
        "make one by `openssl genpkey -algorithm ed25519 -out FILE`, or leave `key` out: Witgate makes one";
    let other = "this is not a private key for Ed25519 in PEM (PKCS #8, `BEGIN PRIVATE KEY`)";
    with_keys(
        "[audit]\ndirectory = 'log'\nkey = { file = 'other.pem' }",
        &[&format!("witgate.toml:3:1: the key of the audit: {other} ({help})")],
    );
    with_keys(
        "[audit]\ndirectory = 'damaged'",
        &[&format!("witgate.toml:2:13: the key of the audit: {other} ({help})")],
    );
    with_keys(
        "[audit]\ndirectory = 'log'\nkey = { file = 'public.pem' }",
        &[
            "witgate.toml:3:1: others may read or write the private key `public.pem` (let only its owner read and write it: `chmod 600 public.pem`)",
        ],
    );
    with_keys(
        "[audit]\ndirectory = 'log'\norigin = 'a b'",
        &[
            "witgate.toml:3:10: the origin has to consist of 1 to 128 visible ASCII characters without `+` (write a name such as `example.com/witgate`)",
        ],
    );
}

#[test]
fn a_place_that_proves_nothing_is_reported() {
    with_rest(
        "[audit]\ndirectory = 'p.wasm'",
        &["witgate.toml:2:13: `p.wasm` is not a directory (name a directory for the audit log alone)"],
    );
    with_rest(
        "[audit]\ndirectory = 'log'\ncheckpoint_to = 'log/checkpoints'",
        &[
            "witgate.toml:3:17: this file is in the directory of the audit itself, so it proves nothing more (name a file on another disk, or one to which Witgate can only append)",
        ],
    );
}

#[test]
fn several_places_get_checkpoints() {
    let audit =
        good(&format!("[audit]\ndirectory = 'log'\ncheckpoint_to = ['/other/one', 'log']\n{REST}")).audit;
    let expected = [CheckpointPlace::File("/other/one".into()), CheckpointPlace::Log];
    assert_eq!(audit.unwrap().checkpoint_to, expected);
    with_rest(
        "[audit]\ndirectory = 'log'\ncheckpoint_to = ['log', '/other/one', 'log']",
        &["witgate.toml:3:39: this place is named twice (remove one of the two)"],
    );
    with_rest(
        "[audit]\ndirectory = 'log'\ncheckpoint_to = 7",
        &[
            "witgate.toml:3:17: `audit.checkpoint_to` has to be a list or a string or a table, and this is a whole number (write a list or a string or a table)",
        ],
    );
}

const WITNESS: &str = "witness.example/1+8d66cf3f+BA==";

/// The public key of a witness.
fn witness_key(name: &str) -> String {
    use base64::Engine as _;
    let key = [&[4_u8], [7; 32].as_slice()].concat();
    let id = witgate_base::digest::sha256(&[name.as_bytes(), b"\n", &key].concat());
    let id: String = id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{name}+{id}+{}", base64::engine::general_purpose::STANDARD.encode(key))
}

#[test]
fn witnesses_and_a_collector_get_checkpoints() {
    let (one, other) = (witness_key("witness.example/1"), witness_key("other"));
    let places = format!(
        "[{{ witness = 'https://witness.example/log/', key = '{one}' }}, {{ witness = 'http://[::1]:1', key = '{other}' }}, 'otlp']"
    );
    let telemetry = "[telemetry]\notlp_endpoint = 'http://collector:4318/base'\n";
    let audit =
        good(&format!("[audit]\ndirectory = 'log'\ncheckpoint_to = {places}\n{telemetry}{REST}")).audit;
    let witness = |url: &str, key: &str| {
        CheckpointPlace::Witness(WitnessPlace { url: url.to_owned(), key: key.parse().unwrap() })
    };
    let expected = [
        witness("https://witness.example/log/add-checkpoint", &one),
        witness("http://[::1]:1/add-checkpoint", &other),
        CheckpointPlace::Collector("http://collector:4318/base/v1/logs".to_owned()),
    ];
    assert_eq!(audit.unwrap().checkpoint_to, expected);
}

#[test]
fn all_faults_of_witnesses_are_reported_at_once() {
    let one = witness_key("witness.example/1");
    let config = format!(
        "[audit]\ndirectory = 'log'\ncheckpoint_to = [\n'otlp',\n{{ witness = 'http://witness.example', key = '{WITNESS}' }},\n{{ witness = 'nix', key = '{one}' }},\n{{ witness = 'https://a.example', key = '{one}' }},\n{{ witness = 'https://b.example', key = '{one}' }},\n{{ url = 'https://c.example', key = '{one}' }},\n]"
    );
    with_rest(
        &config,
        &[
            "witgate.toml:4:1: nothing says which collector gets the checkpoints (set `otlp_endpoint` under `[telemetry]`)",
            "witgate.toml:5:13: this URL has no TLS, so that anybody on the way can keep checkpoints back (use `https`; `http` is for a witness on this machine only)",
            "witgate.toml:5:45: this is not the public key of a witness (`NAME+ID+KEY`, for cosignatures with Ed25519) (write the public key that the operator of the witness publishes)",
            "witgate.toml:6:13: `nix` is not a URL: relative URL without a base (write the submission prefix of the witness, such as `https://witness.example/prefix`)",
            "witgate.toml:8:1: this place is named twice (remove one of the two)",
            "witgate.toml:9:1: `[audit.checkpoint_to.5]` has no `witness` (add `witness = …`)",
            "witgate.toml:9:3: unknown key `url` in `[audit.checkpoint_to.5]` (`url` belongs under `[upstreams.NAME]`)",
        ],
    );
}

#[test]
fn pointers_to_arguments_and_the_node_are_checked() {
    let audit = "[audit]\ndirectory = 'log'\nnode = 'a b'\narguments_clear = ['/path', 'path', '/a~2']\narguments_masked = ['']";
    let help = "write `/NAME`, or `/NAME/NAME` for a member of a member";
    with_rest(
        audit,
        &[
            "witgate.toml:3:8: the name of the node has to consist of 1 to 128 visible ASCII characters (write a name such as `gateway-1`)",
            &format!("witgate.toml:4:29: `path` is not a JSON pointer to an argument ({help})"),
            &format!("witgate.toml:4:37: `/a~2` is not a JSON pointer to an argument ({help})"),
            &format!("witgate.toml:5:21: `` is not a JSON pointer to an argument ({help})"),
        ],
    );
}

#[test]
fn a_directory_of_another_process_is_reported() {
    let folder = Folder::with(&format!("[audit]\ndirectory = 'log'\n{REST}"));
    let open = |owner: &str| {
        let pem = CheckpointSigner::new_pem().unwrap();
        let signer = Arc::new(CheckpointSigner::from_pem(&pem, None).unwrap());
        let rules = SegmentRules { size: 1, age: Duration::MAX, keep: None, compress: false };
        let (directory, sync) = (folder.0.path().join("log"), SyncMode::Batched);
        let owner = owner.to_owned();
        AuditLog::open(LogSettings {
            directory,
            signer,
            sync,
            rules,
            checkpoint_to: Vec::new(),
            network: None,
            owner,
        })
        .unwrap()
    };
    let log = open("/other/witgate.toml");
    assert_eq!(
        folder.says(),
        "witgate.toml:2:13: another process writes the audit in `log`: that of /other/witgate.toml (give each Witgate a directory of its own)\n"
    );
    log.stop(Duration::from_secs(20));
    // The running Witgate of the same configuration is expected.
    let log = open(&folder.path().display().to_string());
    assert_eq!(folder.says(), "");
    log.stop(Duration::from_secs(20));
}
