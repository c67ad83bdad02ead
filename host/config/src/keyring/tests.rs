//! A keyring that answers, is locked, refuses or hangs. The integration tests have the real one of GNOME.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use proptest::prelude::*;

use super::message::{BodyReader, BodyWriter};
use super::{KeyringEntry, KeyringError, KeyringPlaceError};

fn entry(written: &str, bus: &str) -> KeyringEntry {
    KeyringEntry::new(written, |name| (name == "DBUS_SESSION_BUS_ADDRESS").then_some(bus)).unwrap()
}

#[test]
fn an_entry_has_a_service_and_an_account_and_a_bus() {
    let found = entry("https://example.com/alice", "unix:path=/x");
    assert_eq!((found.service(), found.account()), ("https://example.com", "alice"));
    for wrong in ["", "alice", "/alice", "witgate/", "a\n/b"] {
        let error = KeyringEntry::new(wrong, |_| Some("unix:path=/x")).unwrap_err();
        assert_eq!(error, KeyringPlaceError::Name, "{wrong}");
    }
    assert_eq!(KeyringEntry::new("a/b", |_| None).unwrap_err(), KeyringPlaceError::NoBus);
    let usual = KeyringEntry::new("a/b", |name| (name == "XDG_RUNTIME_DIR").then_some("/run/user/1"));
    assert_eq!(usual.unwrap().bus, "unix:path=/run/user/1/bus");
}

/// A bus that says `answer` to each call, in order. None: it says nothing more.
struct Double {
    folder: tempfile::TempDir,
}

impl Double {
    fn start(answers: Vec<Option<Answer>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("bus with blank")).unwrap();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let greeting = read_until(&mut socket, b"\r\n");
            assert!(greeting.starts_with(b"\0AUTH EXTERNAL "), "{greeting:?}");
            socket.write_all(b"OK 0123456789abcdef\r\n").unwrap();
            assert_eq!(read_until(&mut socket, b"\r\n"), b"BEGIN\r\n");
            for (serial, answer) in (1..).zip(answers) {
                read_call(&mut socket);
                let Some(answer) = answer else {
                    std::thread::sleep(super::ANSWER + super::ANSWER);
                    return;
                };
                // A signal that comes before the answer is nothing to wait for.
                socket.write_all(&Answer { kind: 4, ..Answer::default() }.bytes(0)).unwrap();
                socket.write_all(&answer.bytes(serial)).unwrap();
            }
        });
        Self { folder }
    }

    fn read(&self) -> Result<String, KeyringError> {
        let folder = self.folder.path().display();
        let addresses = format!("tcp:host=x;unix:path=/absent;unix:guid=1,path={folder}/bus%20with%20blank");
        entry("witgate/github", &addresses).read().map(|secret| secret.to_string())
    }
}

fn read_until(socket: &mut UnixStream, end: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    while !line.ends_with(end) {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    line
}

fn read_call(socket: &mut UnixStream) {
    let mut fixed = [0; 16];
    socket.read_exact(&mut fixed).unwrap();
    let number = |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!(fixed[..4], [b'l', 1, 0, 1]);
    let mut rest = vec![0; number(12).next_multiple_of(8) + number(4)];
    socket.read_exact(&mut rest).unwrap();
}

#[derive(Default)]
struct Answer {
    kind: u8,
    body: Vec<u8>,
}

impl Answer {
    fn bytes(&self, serial: u32) -> Vec<u8> {
        let mut message = BodyWriter::default();
        for byte in [b'l', self.kind, 0, 1] {
            message.byte(byte);
        }
        message.number(self.body.len().try_into().unwrap());
        message.number(7);
        message.array(|fields| {
            fields.byte(5);
            fields.signature("u");
            fields.number(serial);
            if self.kind == 3 {
                fields.align(8);
                fields.byte(4);
                fields.signature("s");
                fields.text(std::str::from_utf8(&self.body).unwrap());
            }
        });
        message.align(8);
        [message.bytes(), &self.body].concat()
    }
}

fn answer(write: impl FnOnce(&mut BodyWriter)) -> Option<Answer> {
    let mut body = BodyWriter::default();
    write(&mut body);
    Some(Answer { kind: 2, body: body.bytes().to_vec() })
}

fn paths(body: &mut BodyWriter, paths: &[&str]) {
    let mut inner = BodyWriter::default();
    paths.iter().for_each(|path| inner.text(path));
    body.number(inner.bytes().len().try_into().unwrap());
    paths.iter().for_each(|path| body.text(path));
}

fn found(unlocked: &[&str], locked: &[&str]) -> Option<Answer> {
    answer(|body| {
        paths(body, unlocked);
        paths(body, locked);
    })
}

fn session() -> Option<Answer> {
    answer(|body| {
        body.signature("s");
        body.text("");
        body.text("/session/1");
    })
}

fn secret(value: &[u8]) -> Option<Answer> {
    answer(|body| {
        body.text("/session/1");
        body.number(0);
        body.number(value.len().try_into().unwrap());
        value.iter().for_each(|byte| body.byte(*byte));
        body.text("text/plain");
    })
}

fn hello() -> Option<Answer> {
    answer(|body| body.text(":1.5"))
}

fn refusal(name: &str) -> Option<Answer> {
    Some(Answer { kind: 3, body: name.as_bytes().to_vec() })
}

#[test]
fn a_keyring_gives_a_secret_or_the_reason_why_not() {
    let one = || found(&["/item/1"], &[]);
    assert_eq!(Double::start(vec![hello(), one(), session(), secret(b"sesame")]).read().unwrap(), "sesame");
    for (answers, reason) in [
        (vec![hello(), found(&[], &[])], "secret-missing: there is no such entry"),
        (vec![hello(), found(&["/1", "/2"], &[])], "secret-missing: there are 2 such entries"),
        (vec![hello(), found(&[], &["/item/1"])], "secret-locked: the keyring is locked"),
        (
            vec![hello(), one(), session(), refusal("org.freedesktop.Secret.Error.IsLocked")],
            "secret-locked: the keyring is locked",
        ),
        (
            vec![hello(), refusal("org.freedesktop.DBus.Error.ServiceUnknown")],
            "secret-unavailable: the keyring refuses: org.freedesktop.DBus.Error.ServiceUnknown",
        ),
        (vec![hello(), refusal("line\nbreak")], "secret-unavailable: the answer"),
        (vec![hello(), refusal(&"x".repeat(256))], "secret-unavailable: the answer"),
        (vec![hello(), one(), session(), secret(b"")], "secret-damaged: it is empty"),
        (vec![hello(), one(), session(), secret(b"\xff")], "secret-damaged: it is empty, or not text"),
        (vec![hello(), answer(|body| body.number(99))], "secret-unavailable: the answer"),
        (vec![hello()], "secret-unavailable: the session bus cannot be used"),
    ] {
        let error = Double::start(answers).read().unwrap_err().to_string();
        assert!(error.starts_with(reason), "{error}");
    }
    let nothing = entry("a/b", "unix:path=/absent").read().unwrap_err();
    assert!(matches!(nothing, KeyringError::Bus(_)), "{nothing}");
}

#[test]
fn a_keyring_that_hangs_is_not_waited_for() {
    let began = Instant::now();
    let late = Double::start(vec![hello(), None]).read().unwrap_err();
    assert!(matches!(late, KeyringError::Late), "{late}");
    assert!(began.elapsed() < super::ANSWER * 2, "{:?}", began.elapsed());
}

#[test]
fn a_bus_that_accepts_nothing_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bus");
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    // It fills the queue of connections.
    let _waiting = UnixStream::connect(&path).unwrap();
    let began = Instant::now();
    let late = entry("a/b", &format!("unix:path={}", path.display())).read().unwrap_err();
    assert!(matches!(late, KeyringError::Late), "{late}");
    assert!(began.elapsed() < super::ANSWER * 2, "{:?}", began.elapsed());
}

/// Only root can start a bus as another user. The credentials are those of the time of `listen`.
#[test]
fn a_bus_of_another_user_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bus");
    let listener = path.to_str().unwrap();
    let script = format!(
        "import socket, os, time\ns = socket.socket(socket.AF_UNIX)\ns.bind({listener:?})\nos.chmod({listener:?}, 0o777)\n\
         os.setuid(65534)\ns.listen()\nprint('ready', flush=True)\ntime.sleep(60)"
    );
    let mut python = std::process::Command::new("python3");
    let python = python.args(["-c", &script]).stdout(std::process::Stdio::piped()).spawn();
    let Ok(mut python) = python else {
        eprintln!("not shown: this needs python3");
        return;
    };
    let mut ready = [0; 5];
    let is_ready = python.stdout.take().unwrap().read_exact(&mut ready).is_ok();
    let asked = entry("a/b", &format!("unix:path={listener}")).read();
    python.kill().unwrap();
    python.wait().unwrap();
    if !is_ready {
        eprintln!("not shown: this needs to be root");
        return;
    }
    let error = asked.unwrap_err().to_string();
    assert!(error.starts_with("secret-unavailable: ") && error.contains("the user 65534"), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), is_big in any::<bool>()) {
        let reader = || BodyReader::of(&bytes, is_big);
        let _ = reader().texts();
        let _ = reader().text();
        let _ = reader().signature();
        let mut reader = reader();
        while reader.structure().and_then(|()| reader.bytes()).is_ok() && !reader.is_at_end() {}
    }
}
