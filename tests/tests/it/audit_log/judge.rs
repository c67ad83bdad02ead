//! A verifier that was written from `docs/audit.md`, in Python, on logs that rotate, are compressed and lose their
//! oldest segments; and the faults that it names.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use witgate_audit::note::CheckpointSigner;
use witgate_audit::{AuditLog, LogSettings, PUBLIC_KEY_FILE, SegmentRules, SyncMode, time_text};
use witgate_tests::clients::Clients;
use witgate_tests::gateway::{PATIENCE, await_some, workspace};

/// A directory with a log, and its key.
struct Place {
    dir: TempDir,
    signer: Arc<CheckpointSigner>,
}

impl Place {
    fn new() -> Self {
        let pem = CheckpointSigner::new_pem().unwrap();
        let signer = Arc::new(CheckpointSigner::from_pem(&pem, None).unwrap());
        Self { dir: TempDir::new().unwrap(), signer }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn open(&self, keep: Option<Duration>) -> AuditLog {
        let age = Duration::from_secs(3600);
        let settings = LogSettings {
            directory: self.log(),
            signer: Arc::clone(&self.signer),
            sync: SyncMode::BeforeAnswer,
            rules: SegmentRules { size: 4096, age, keep, compress: true },
            checkpoint_to: Vec::new(),
            network: None,
            owner: "a test".to_owned(),
        };
        AuditLog::open(settings).unwrap()
    }

    /// Writes entries, one after the other.
    async fn write(&self, keep: Option<Duration>, entries: usize) {
        let log = self.open(keep);
        for _ in 0..entries {
            // The kind is the first member.
            let entry =
                format!(r#"{{"kind":"decision","time":"{}","id":"{}"}}"#, time_text(), "0".repeat(32));
            assert!(log.append_durably(entry.as_bytes(), log.reserve()).await);
        }
        assert!(log.stop(PATIENCE));
    }

    fn files(&self, end: &str) -> Vec<PathBuf> {
        let mut all: Vec<_> =
            std::fs::read_dir(self.log()).unwrap().map(|entry| entry.unwrap().path()).collect();
        all.retain(|path| path.to_string_lossy().ends_with(end));
        all.sort();
        all
    }

    fn judged(&self, key: &Path) -> Output {
        let mut python = Command::new(Clients::installed().unwrap().python());
        python.arg(workspace().join("tests/judges/audit_log.py")).arg(self.log()).arg(key);
        python.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap()
    }

    /// The fault that the verifier finds after `attack`, which is undone.
    fn fault(&self, attack: impl FnOnce(&Self)) -> String {
        let kept: Vec<_> =
            self.files("").into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect();
        attack(self);
        let judged = self.judged(&self.log().join(PUBLIC_KEY_FILE));
        assert_eq!(judged.status.code(), Some(1), "{judged:?}");
        for path in self.files("") {
            std::fs::remove_file(path).unwrap();
        }
        for (content, path) in kept {
            std::fs::write(path, content).unwrap();
        }
        let fault: Value = serde_json::from_slice(&judged.stdout).unwrap();
        fault["fault"].as_str().unwrap().to_owned()
    }
}

fn change(path: &Path, change: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(path).unwrap();
    let changed = change(text.clone());
    assert_ne!(changed, text);
    std::fs::write(path, changed).unwrap();
}

/// The text with a change in its last line.
fn in_last_line(text: &str, from: &str, to: &str) -> String {
    let begin = text.trim_end().rfind('\n').unwrap() + 1;
    text[..begin].to_owned() + &text[begin..].replacen(from, to, 1)
}

fn result(judged: &Output) -> Value {
    assert!(judged.status.success(), "{judged:?}");
    serde_json::from_slice(&judged.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_program_verifies_rotated_compressed_and_shortened_logs() {
    let place = Place::new();
    place.write(None, 100).await;
    let key = place.log().join(PUBLIC_KEY_FILE);
    // Each start compresses what is complete, in the background.
    place.write(None, 1).await;
    await_some("compressed segments", || {
        let (plain, incomplete) = (place.files(".jsonl").len(), place.files(".new").len());
        (plain == 1 && incomplete == 0 && place.files(".jsonl.gz").len() > 2).then_some(())
    });
    let whole = result(&place.judged(&key));
    assert_eq!(whole["first"], 0);
    assert!(whole["lines"].as_u64().unwrap() > 100, "{whole}");

    let last = place.files(".jsonl").pop().unwrap();
    type Attack<'a> = &'a dyn Fn(&Place);
    let attacks: [(&str, Attack<'_>); 5] = [
        ("does not continue the chain", &|_| {
            change(&last, |text| in_last_line(&text, r#""seq":"#, r#""seq":9"#));
        }),
        ("are not those of their checkpoint", &|_| {
            change(&last, |text| in_last_line(&text, r#""id":"0"#, r#""id":"1"#));
        }),
        ("a checkpoint has", &|_| {
            change(&last, |text| text[..=text.trim_end().rfind('\n').unwrap()].to_owned());
        }),
        ("does not continue the lines before it", &|place| {
            std::fs::remove_file(&place.files(".jsonl.gz")[1]).unwrap();
        }),
        ("the first lines are missing", &|place| {
            std::fs::remove_file(&place.files(".jsonl.gz")[0]).unwrap();
        }),
    ];
    for (expected, attack) in attacks {
        let fault = place.fault(attack);
        assert!(fault.contains(expected), "{fault}, and not {expected}");
    }
    let stranger = Place::new();
    stranger.write(None, 1).await;
    let judged = place.judged(&stranger.log().join(PUBLIC_KEY_FILE));
    assert_eq!(judged.status.code(), Some(1), "{judged:?}");
    assert!(String::from_utf8_lossy(&judged.stdout).contains("is not signed by a known key"), "{judged:?}");

    // Old segments are removed in the background, which a signed entry says.
    let mut rest = whole;
    for _ in 0..20 {
        place.write(Some(Duration::from_millis(1)), 1).await;
        rest = result(&place.judged(&key));
        if rest["first"] != 0 {
            break;
        }
    }
    assert!(rest["first"].as_u64().unwrap() > 0, "{rest}");
}
