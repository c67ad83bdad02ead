//! The control socket: commands such as `witgate plugin list` speak to a running Witgate through it.
//!
//! It is a Unix socket with mode 0600. A client writes one JSON object on one line, such as `{"cmd":"plugin-list"}`,
//! and reads one object on one line: `{"ok":VALUE}` or `{"error":"SENTENCE"}`. Then the client sends the next command,
//! or closes. Such a line has at most 64 KiB. `trace` has one such object for each decision, until the client closes.

pub(crate) mod definitions;
pub(crate) mod limits;
pub(crate) mod operator;
pub(crate) mod overview;
pub(crate) mod place;
pub(crate) mod protocol;
mod recording;
pub(crate) mod reloading;
pub(crate) mod status;

use std::io::{self, BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixListener;

use self::protocol::ControlCommand;
use crate::operation::Requester;

/// The longest request. Today's requests have about a hundred bytes.
const LONGEST_LINE: u64 = 64 << 10;

/// Time that a client waits for its answer. A rollback takes less.
const PATIENCE: Duration = Duration::from_secs(10);

/// The client, as the system identifies it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ControlClient {
    /// The user.
    pub uid: Option<u32>,
    /// The process.
    pub pid: Option<i32>,
}

impl std::fmt::Display for ControlClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Requester::from(*self).fmt(f)
    }
}

impl From<ControlClient> for Requester {
    fn from(ControlClient { uid, pid }: ControlClient) -> Self {
        Self::Client { uid, pid }
    }
}

impl ControlClient {
    fn of(stream: &tokio::net::UnixStream) -> Self {
        let known = stream.peer_cred().ok();
        Self { uid: known.map(|known| known.uid()), pid: known.and_then(|known| known.pid()) }
    }
}

/// The answer to a command.
pub(crate) enum ControlAnswer {
    /// One value.
    One(Value),
    /// Values as JSON text, each in a line of its own, until the client goes away.
    Many(BoxStream<'static, String>),
}

impl From<Value> for ControlAnswer {
    fn from(value: Value) -> Self {
        Self::One(value)
    }
}

/// The error when there is no control socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Another Witgate answers there.
    #[error("another Witgate listens on {}; stop it, or set `server.control` to another path", .0.display())]
    InUse(PathBuf),
    /// The path holds something that is not a socket.
    #[error("{} is there and is not a socket; move it away, or set `server.control` to another path", .0.display())]
    NotASocket(PathBuf),
    /// The socket cannot be made.
    #[error("the control socket {} cannot be made: {}; set `server.control` to another path", .0.display(), .1)]
    Io(PathBuf, io::Error),
}

/// The listening socket. Dropping it removes its file.
#[derive(Debug)]
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
    /// The file that it made. A file with another inode at the same path belongs to somebody else.
    inode: Option<u64>,
}

impl Control {
    /// Listens at `path`. A socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// When another Witgate listens, the path holds something else, or the socket cannot be made.
    pub(crate) fn bind(path: &Path) -> Result<Self, ControlError> {
        let failed = |error| ControlError::Io(path.to_owned(), error);
        make_room(path)?;
        let listener = bind_private(path).map_err(failed)?;
        let inode = path.metadata().ok().map(|meta| meta.ino());
        Ok(Self { listener, path: path.to_owned(), inode })
    }

    /// Answers requests for as long as the returned future is polled.
    pub(crate) async fn serve<A, R>(self, answer: A)
    where
        A: Fn(ControlCommand, ControlClient) -> R + Send + Sync + 'static,
        R: Future<Output = Result<ControlAnswer, String>> + Send,
    {
        let answer = Arc::new(answer);
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let answer = Arc::clone(&answer);
                    // A client that closes early reads no error.
                    tokio::spawn(async move { drop(converse(stream, &*answer).await) });
                }
                Err(error) => {
                    tracing::warn!("the control socket cannot accept a connection: {error}");
                    // Most likely there are no file descriptors left: wait before the next `accept`.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if self.inode.is_some() && self.path.metadata().ok().map(|meta| meta.ino()) == self.inode {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

fn make_room(path: &Path) -> Result<(), ControlError> {
    match path.symlink_metadata() {
        Err(_) => return Ok(()),
        Ok(meta) if !meta.file_type().is_socket() => return Err(ControlError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ControlError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| ControlError::Io(path.to_owned(), error))
        }
        Err(error) => Err(ControlError::Io(path.to_owned(), error)),
    }
}

/// Makes a socket under another name, closes it to other users, and only then moves it to `path`. Otherwise anybody
/// could connect between `bind` and `chmod`.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let new = path.with_extension(format!("{:08x}", getrandom::u32().map_err(io::Error::other)?));
    let listener = UnixListener::bind(&new)?;
    let placed = std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&new, path));
    if let Err(error) = placed {
        drop(std::fs::remove_file(&new));
        return Err(error);
    }
    Ok(listener)
}

async fn converse<R: Future<Output = Result<ControlAnswer, String>>>(
    stream: tokio::net::UnixStream,
    answer: &(impl Fn(ControlCommand, ControlClient) -> R + Sync),
) -> io::Result<()> {
    let client = ControlClient::of(&stream);
    let (read, mut write) = stream.into_split();
    let mut lines = tokio::io::BufReader::new(read);
    loop {
        let mut line = String::new();
        if (&mut lines).take(LONGEST_LINE).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let outcome = match serde_json::from_str::<ControlCommand>(&line) {
            Ok(command) if command.ends_with_client() => tokio::select! {
                outcome = answer(command, client) => outcome,
                () = disconnected(&mut lines) => return Ok(()),
            },
            Ok(command) => answer(command, client).await,
            Err(_) => {
                Err("this is not a command that this Witgate knows; it may be another version".to_owned())
            }
        };
        let reply = match outcome {
            Ok(ControlAnswer::One(value)) => json!({ "ok": value }),
            Ok(ControlAnswer::Many(answers)) => return tell(answers, (&mut lines, &mut write)).await,
            Err(message) => json!({ "error": message }),
        };
        write.write_all(format!("{reply}\n").as_bytes()).await?;
    }
}

/// Writes each of `answers`, until the client goes away.
async fn tell(
    mut answers: BoxStream<'static, String>,
    (lines, write): (&mut (impl AsyncBufRead + Unpin), &mut (impl AsyncWrite + Unpin)),
) -> io::Result<()> {
    let told = async {
        while let Some(answer) = answers.next().await {
            write.write_all(format!("{{\"ok\":{answer}}}\n").as_bytes()).await?;
        }
        Ok(())
    };
    tokio::select! {
        told = told => told,
        () = disconnected(lines) => Ok(()),
    }
}

/// Waits until the client has gone away.
async fn disconnected(lines: &mut (impl AsyncBufRead + Unpin)) {
    // A client that has sent its next command already is still there.
    if lines.fill_buf().await.is_ok_and(|read| !read.is_empty()) {
        std::future::pending().await
    }
}

/// The error when there is no answer, in one sentence each.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub enum AskError {
    /// Nobody listens there.
    Nobody(String),
    /// The gateway gave no answer, or an error in its place.
    Unanswered(String),
}

impl From<AskError> for String {
    fn from(error: AskError) -> Self {
        error.to_string()
    }
}

/// Asks the Witgate that listens at `path`.
///
/// # Errors
/// With the reason why there is no answer, or with the error that Witgate answers.
pub(crate) fn ask(path: &Path, command: &ControlCommand) -> Result<Value, AskError> {
    ask_for(path, command, PATIENCE)
}

/// As [`ask`], with a longer time limit.
///
/// # Errors
/// As [`ask`].
pub(crate) fn ask_for(path: &Path, command: &ControlCommand, patience: Duration) -> Result<Value, AskError> {
    let mut reader = BufReader::new(send(path, command, patience)?);
    read_answer(path, &mut reader)?.ok_or_else(|| unanswered(path, &io::ErrorKind::UnexpectedEof.into()))
}

/// Passes the answers of the Witgate that listens at `path` to `take`, until `take` breaks or Witgate stops.
///
/// # Errors
/// As [`ask`].
pub(crate) fn follow(
    path: &Path,
    command: &ControlCommand,
    mut take: impl FnMut(Value) -> ControlFlow<()>,
) -> Result<(), AskError> {
    let stream = send(path, command, PATIENCE)?;
    let mut reader = BufReader::new(stream);
    let mut next = read_answer(path, &mut reader)?;
    // The time limit is for the first answer: decisions may be rare.
    reader.get_ref().set_read_timeout(None).map_err(|error| unanswered(path, &error))?;
    while let Some(answer) = next {
        if take(answer).is_break() {
            return Ok(());
        }
        next = read_answer(path, &mut reader)?;
    }
    Ok(())
}

/// Connects to the Witgate that listens at `path`, and sends a command.
fn send(path: &Path, command: &ControlCommand, patience: Duration) -> Result<UnixStream, AskError> {
    let shown = path.display();
    let mut stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::Nobody(format!(
            "no Witgate is running with this configuration (nobody listens on {shown}); start it with `witgate serve`"
        )),
        io::ErrorKind::PermissionDenied => {
            AskError::Unanswered(format!("you may not use {shown}; run this as the user who started Witgate"))
        }
        _ => AskError::Unanswered(format!("{shown}: {error}")),
    })?;
    let unanswered = |error: io::Error| unanswered(path, &error);
    stream.set_read_timeout(Some(patience)).map_err(unanswered)?;
    stream.set_write_timeout(Some(patience)).map_err(unanswered)?;
    let line = serde_json::to_string(command).map_err(|error| unanswered(error.into()))?;
    stream.write_all(format!("{line}\n").as_bytes()).map_err(unanswered)?;
    Ok(stream)
}

fn unanswered(path: &Path, error: &io::Error) -> AskError {
    AskError::Unanswered(format!("the Witgate on {} does not answer: {error}", path.display()))
}

/// The next answer. None: Witgate has closed the connection.
fn read_answer(path: &Path, reader: &mut BufReader<UnixStream>) -> Result<Option<Value>, AskError> {
    let shown = path.display();
    let mut reply = String::new();
    if reader.read_line(&mut reply).map_err(|error| unanswered(path, &error))? == 0 {
        return Ok(None);
    }
    let reply = serde_json::from_str(&reply);
    let mut reply: Value = reply.map_err(|error| unanswered(path, &error.into()))?;
    match (reply.get_mut("ok").map(Value::take), reply.get("error").and_then(Value::as_str)) {
        (Some(value), None) => Ok(Some(value)),
        (_, Some(error)) => Err(AskError::Unanswered(error.to_owned())),
        (None, None) => Err(AskError::Unanswered(format!(
            "the Witgate on {shown} gives an unknown answer; it may be another version"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::os::unix::fs::PermissionsExt;

    use futures_util::StreamExt as _;
    use serde_json::json;

    use super::protocol::ControlCommand;
    use super::{AskError, Control, ControlAnswer, ControlError, ask, follow};

    #[tokio::test(flavor = "multi_thread")]
    async fn one_line_is_answered_by_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witgate.sock");
        let control = Control::bind(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let serving = tokio::spawn(control.serve(async |command, _| match command {
            ControlCommand::PluginList => Ok(json!([1, 2]).into()),
            _ => Err("not asked".to_owned()),
        }));
        let asked = path.clone();
        let answer =
            tokio::task::spawn_blocking(move || ask(&asked, &ControlCommand::PluginList)).await.unwrap();
        assert_eq!(answer.unwrap(), json!([1, 2]));
        assert!(matches!(Control::bind(&path), Err(ControlError::InUse(_))));
        serving.abort();
        drop(serving.await);
        assert!(!path.exists());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_recording_ends_when_its_client_disconnects() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witgate.sock");
        let (alive, mut ended) = tokio::sync::mpsc::channel::<()>(1);
        let serving = tokio::spawn(Control::bind(&path).unwrap().serve(move |_, client| {
            let alive = alive.clone();
            async move {
                assert_eq!(client.uid, Some(rustix::process::getuid().as_raw()));
                std::future::pending::<()>().await;
                drop(alive);
                Ok(json!(null).into())
            }
        }));
        let command =
            ControlCommand::PluginRecord { policy: "p".to_owned(), calls: 1, seconds: 1, claims: false };
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let line = serde_json::to_string(&command).unwrap();
        std::io::Write::write_all(&mut stream, format!("{line}\n").as_bytes()).unwrap();
        drop(stream);
        // The socket's own copy goes with it; what is left is the one of the command.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        serving.abort();
        assert_eq!(ended.recv().await, None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn several_answers_are_followed_until_one_side_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witgate.sock");
        let serving = tokio::spawn(Control::bind(&path).unwrap().serve(async |_, _| {
            let numbers = futures_util::stream::iter(["1", "2", "3"].map(str::to_owned));
            Ok(ControlAnswer::Many(numbers.boxed()))
        }));
        let asked = path.clone();
        let followed = tokio::task::spawn_blocking(move || {
            let command = ControlCommand::PluginList;
            let (mut all, mut some) = (Vec::new(), Vec::new());
            let take = |answer| {
                all.push(answer);
                ControlFlow::Continue(())
            };
            follow(&asked, &command, take).unwrap();
            let take = |answer| {
                some.push(answer);
                ControlFlow::Break(())
            };
            follow(&asked, &command, take).unwrap();
            (all, some)
        });
        assert_eq!(followed.await.unwrap(), (vec![json!(1), json!(2), json!(3)], vec![json!(1)]));
        serving.abort();
        drop(serving.await);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witgate.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let nobody = ask(&path, &ControlCommand::PluginList).unwrap_err();
        assert!(
            matches!(nobody, AskError::Nobody(_))
                && nobody.to_string().contains("start it with `witgate serve`")
        );
        drop(Control::bind(&path).unwrap());
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(Control::bind(&path), Err(ControlError::NotASocket(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
