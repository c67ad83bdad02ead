//! Guests that do not become policies: each is refused with its reason, and the live generation goes on.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use witgate_tests::gateway::{Running, Setup, component, unframed};
use witgate_tests::hostile::Guest;

use super::expectations::{Expected, case};
use super::{PATIENT, is_clean};
use crate::caller::{Caller, until_late};
use crate::swap::rename_over;

/// The longest reason: what a plugin says of itself is cut at 1,024 bytes, and what the host says stands around it.
const LONGEST: usize = 2000;

/// A compiler may take a minute, and one that is refused for its memory comes after everybody else.
pub(super) const PATIENCE: Duration = Duration::from_secs(100);

/// The text in the log before the reason.
const REFUSED: &str = "the change was not applied; the live generation stays: ";

/// A gateway whose one policy is a component of no kind, `plugins/rules.wasm`.
pub(super) struct Gateway {
    pub(super) running: Running,
    key: String,
    refused: usize,
}

impl Gateway {
    pub(super) fn new() -> Self {
        let setup = Setup::new();
        setup.config("", &config());
        fs::create_dir(setup.dir().join("plugins")).unwrap();
        fs::copy(component("tests/faulty"), setup.dir().join("plugins/rules.wasm")).unwrap();
        let key = setup.key(&["user", "--allow", "*"]);
        Self { running: setup.serve(), key, refused: 0 }
    }

    /// Puts a file at the path of the component, and returns the reason why it was refused.
    pub(super) async fn refuses(&mut self, name: &str, put: impl FnOnce(&std::path::Path)) -> String {
        put(&self.running.setup().dir().join("plugins/rules.wasm"));
        self.refused += 1;
        let line = until_late(name, PATIENCE, async || {
            let log = self.running.log();
            log.lines()
                .filter_map(|line| line.split_once(REFUSED))
                .nth(self.refused - 1)
                // A message with quotes in it is in quotes itself.
                .map(|(_, why)| why.replace("\\\"", "\""))
        });
        let why = line.await;
        let list = self.running.plugins();
        assert_eq!(list["generation"], 1, "{name}: {list}");
        why
    }

    pub(super) fn caller(&self) -> Caller {
        Caller::new(self.running.url(), Some(&self.key))
    }

    /// Checks that the live policy still decides.
    pub(super) async fn goes_on(&self, name: &str) {
        let answer = self.caller().call("echo", json!({ "text": "mine" })).await;
        assert!(answer.is_result(), "after {name}: {answer:?}");
    }
}

fn config() -> String {
    format!(
        "[upstreams.own]\nown_tools = true\n\
         [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
         [policies.rules]\nkind = \"custom\"\ncomponent = \"plugins/rules.wasm\"\n{PATIENT}\n\
         [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"rules\"]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_candidate_leaves_the_live_policy() {
    let mut gateway = Gateway::new();
    let mut findings = Vec::new();
    for guest in Guest::ALL {
        let Expected::Refused(reasons) = case(guest).expected else { continue };
        let content = fs::read(guest.file()).unwrap();
        let why = gateway.refuses(guest.name(), |file| rename_over(file, &content)).await;
        if !reasons.iter().any(|reason| why.contains(reason)) || !is_clean(&why) || why.len() > LONGEST {
            findings.push(format!("{}: {why:?}", guest.name()));
        }
        gateway.goes_on(guest.name()).await;
    }
    let log = gateway.running.log();
    findings.extend(log.lines().filter(|line| !is_clean(line)).map(|line| format!("in the log: {line:?}")));
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// Components that need a grant which is missing here.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_without_a_grant_is_refused_with_the_line_that_grants_it() {
    let mut gateway = Gateway::new();
    let cases = [
        (Guest::FloodsHttp, "`witgate:auth/http@0.1.0`", "grants = { http = ["),
        (Guest::FloodsCache, "`witgate:auth/cache@0.1.0`", "grants = { cache = true }"),
        (Guest::HashesWithoutEnd, "`witgate:auth/crypto@0.1.0`", "grants = { crypto = true }"),
        (Guest::TriesKeys, "`witgate:auth/crypto@0.1.0`", "keys = ["),
        (Guest::PeeksAtSecrets, "`witgate:auth/secrets@0.1.0`", "grants = { secrets = ["),
    ];
    for (guest, import, line) in cases {
        let content = fs::read(guest.file()).unwrap();
        let why = gateway.refuses(guest.name(), |file| rename_over(file, &content)).await;
        assert!(why.contains(import) && why.contains(line), "{}: {why}", guest.name());
        gateway.goes_on(guest.name()).await;
    }
}

/// One that starts with it, with its output.
struct Starting {
    guest: Guest,
    reasons: &'static [&'static str],
    setup: Setup,
    child: Child,
}

impl Starting {
    fn new(guest: Guest) -> Option<Self> {
        let Expected::RefusedLate(reasons) = case(guest).expected else { return None };
        let setup = Setup::new();
        setup.config("", &config());
        setup.key(&["user", "--allow", "*"]);
        fs::create_dir(setup.dir().join("plugins")).unwrap();
        fs::copy(guest.file(), setup.dir().join("plugins/rules.wasm")).unwrap();
        let mut command = setup.command(&["serve"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        Some(Self { guest, reasons, setup, child })
    }

    fn end(mut self) {
        let name = self.guest.name();
        let end = Instant::now() + Duration::from_secs(40);
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() > end {
                self.child.kill().unwrap();
                panic!("{name}: it serves, or never gives up");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = self.child.wait_with_output().unwrap();
        let text = unframed(&String::from_utf8(output.stderr).unwrap());
        assert!(output.status.code().unwrap() >= 64, "{name}: {:?}\n{text}", output.status);
        assert!(self.reasons.iter().any(|reason| text.contains(reason)), "{name}: {text}");
        assert!(!self.setup.dir().join("witgate.sock").exists(), "{name}: a socket was left");
    }
}

/// Side by side: each takes all the time that there is for it.
#[test]
fn a_component_that_never_returns_delays_the_start_for_a_limited_time() {
    let starting: Vec<Starting> = Guest::ALL.into_iter().filter_map(Starting::new).collect();
    assert!(!starting.is_empty());
    starting.into_iter().for_each(Starting::end);
}

/// Looking at a component before trusting it does no harm.
#[test]
fn inspecting_a_hostile_component_is_harmless() {
    let setup = Setup::new();
    for guest in [
        Guest::DescribesWithEscapes,
        Guest::DescribesTooMuch,
        Guest::SchemaIsNoJson,
        Guest::SchemaRefersToItself,
        Guest::SchemaMultiplies,
        Guest::TrapsInDescribe,
        Guest::ReachesOutInDescribe,
        Guest::ExportsNothing,
        Guest::ImportsNewer,
        Guest::HookOfAnotherType,
    ] {
        let output = setup.run(&["plugin", "inspect", guest.file().to_str().unwrap()]);
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        assert!(output.status.code().is_some(), "{}: {:?}", guest.name(), output.status);
        // A guest's own panic is told; one of the host would be a thread's.
        let panicked = text.lines().any(|line| line.starts_with("thread '") && line.contains("panicked at"));
        assert!(is_clean(&text) && !panicked, "{}: {text:?}", guest.name());
        assert!(text.len() < 20_000, "{}: {} bytes", guest.name(), text.len());
    }
}
