//! Secrets and the identity of the store in a real keyring, that of GNOME, in a session of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use witgate_tests::gateway::{Setup, await_some};
use witgate_tests::recorder::Recorder;

use super::{await_credential, await_reason, over_http, serve};

/// A session bus with a keyring. It ends with its standard input.
struct Session {
    bus: Child,
    address: String,
    home: tempfile::TempDir,
}

impl Session {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut bus = Command::new("dbus-run-session")
            .args(["--", "sh", "-c", "echo \"$DBUS_SESSION_BUS_ADDRESS\"; exec cat"])
            .env("HOME", home.path())
            .env("XDG_DATA_HOME", home.path())
            .env("XDG_RUNTIME_DIR", home.path())
            .env_remove("DISPLAY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-run-session: run `cargo xtask tools`");
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { bus, address: address.trim().to_owned(), home }
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["30", program]).args(arguments).env_remove("DISPLAY");
        command.env("HOME", self.home.path()).env("XDG_DATA_HOME", self.home.path());
        command.env("XDG_RUNTIME_DIR", self.home.path()).env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        command
    }

    /// Runs a program with this standard input.
    fn run(&self, program: &str, arguments: &[&str], input: &str) {
        let mut command = self.command(program, arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{program} {arguments:?}: run `cargo xtask tools`");
    }

    fn unlock(&self) {
        self.run("gnome-keyring-daemon", &["--unlock", "--components=secrets"], "password");
    }

    fn lock(&self) {
        let service = ["--dest=org.freedesktop.secrets", "--print-reply", "/org/freedesktop/secrets"];
        let lock = [
            "org.freedesktop.Secret.Service.Lock",
            "array:objpath:/org/freedesktop/secrets/collection/login",
        ];
        self.run("dbus-send", &[&["--session"], service.as_slice(), &lock].concat(), "");
    }

    fn store(&self, account: &str, secret: &str) {
        let arguments = ["store", "--label=Test", "service", "witgate", "username", account];
        self.run("secret-tool", &arguments, secret);
    }

    fn setup(&self) -> Setup {
        Setup::new().env("DBUS_SESSION_BUS_ADDRESS", &self.address)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.bus.stdin.take());
        let _ = self.bus.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_keyring_is_renewed_and_ends_after_the_keyring_is_locked() {
    let (session, recorder) = (Session::start(), Recorder::start());
    session.unlock();
    session.store("flavour", "first-of-keyring");
    let source = "{ keyring = 'witgate/flavour', ttl_s = 5 }";
    let (running, caller) = serve(session.setup(), &over_http(&recorder, source));
    await_credential(&recorder, &caller, "first-of-keyring").await;
    session.store("flavour", "second-of-keyring");
    await_credential(&recorder, &caller, "second-of-keyring").await;
    session.lock();
    await_reason(&caller, "upstream-secret-expired").await;
    let log = running.await_log("secret-locked: ");
    assert!(!log.contains("-of-keyring"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_identity_of_the_store_is_in_a_keyring() {
    let (session, recorder) = (Session::start(), Recorder::start());
    session.unlock();
    let setup = session.setup();
    let identity = "identity = { keyring = 'witgate/store' }";
    let upstream = over_http(&recorder, "{ stored = 'flavour' }");
    setup.config("", &format!("[secrets]\n{identity}\n{upstream}\n{}", super::POLICIES));
    let set = |setup: &Setup| {
        let mut command = setup.command(&["secret", "set", "flavour", "-"]);
        let command = command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"stored-credential").unwrap();
        child.wait_with_output().unwrap()
    };
    let missing = String::from_utf8(set(&setup).stderr).unwrap();
    assert!(
        missing.contains("secret-locked: there is no identity in the entry `witgate/store`"),
        "{missing}"
    );
    assert!(!setup.dir().join("secrets.age").exists());
    session.store("store", include_str!("../../../../host/config/src/secret_store/frozen/identity.txt"));
    assert!(set(&setup).status.success());
    assert!(!Path::new(&setup.dir().join("witgate.state/secrets.key")).exists());
    let key = setup.key(&["caller", "--allow", "*"]);
    let running = setup.serve();
    let caller = crate::caller::Caller::new(running.url(), Some(&key));
    await_credential(&recorder, &caller, "stored-credential").await;
    session.lock();
    let said = await_some("the keyring to be locked", || {
        let output = running.setup().run(&["check"]);
        (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    });
    assert!(said.contains("secret-locked: the identity in the entry `witgate/store`"), "{said}");
}
