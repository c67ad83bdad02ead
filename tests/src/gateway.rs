//! A real `witgate`, as a process of its own, with its directory, configuration and log.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpSocket;

/// Time limit for a process that usually takes milliseconds: test machines are slow.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The path of a program of the workspace, which is built beside the running test.
pub fn program(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    // target/PROFILE/deps/TEST → target/PROFILE/NAME
    let dir = exe.ancestors().find(|dir| dir.join(name).is_file());
    dir.unwrap_or_else(|| panic!("{name} is not built: run `cargo build --workspace --bins`")).join(name)
}

/// The path of a shipped or example component, as `cargo xtask guests` builds it: `rbac`, `examples/read-only`.
pub fn component(name: &str) -> PathBuf {
    let file = workspace().join("target/plugins").join(format!("{name}.wasm"));
    assert!(file.is_file(), "{} is not built: run `cargo xtask guests`", file.display());
    file
}

/// True if this machine permits tests to use namespaces.
pub fn may(what: &str, arguments: &[&str]) -> bool {
    let may =
        Command::new(arguments[0]).args(&arguments[1..]).output().is_ok_and(|output| output.status.success());
    if !may {
        eprintln!("SKIPPED: this machine does not allow {what} ({})", arguments.join(" "));
    }
    may
}

/// A free port that nobody else takes before its use: the system gives no connection a port of this range, and every
/// process and thread of the tests begins at another place in it.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let candidates = std::iter::repeat_with(|| {
        let number = std::process::id().wrapping_mul(37).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        u16::try_from(number % 18_000).unwrap() + 12_000
    });
    candidates.take(1000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// A port that refuses connections, and that nobody else can use meanwhile.
#[derive(Debug)]
pub struct RefusingPort(TcpSocket);

impl RefusingPort {
    /// Takes a free port, on which nobody listens.
    pub fn take() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        Self(socket)
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.0.local_addr().expect("the socket is bound").port()
    }
}

/// A directory with a configuration, before a gateway runs.
pub struct Setup {
    dir: TempDir,
    port: u16,
    admin: u16,
    env: Vec<(String, String)>,
    /// The program that serves in place of `witgate serve`.
    embedding: Option<&'static str>,
    /// A program that starts the gateway, and its arguments.
    within: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// An empty directory.
    pub fn new() -> Self {
        let (port, admin) = (free_port(), free_port());
        Self {
            dir: TempDir::new().unwrap(),
            port,
            admin,
            env: Vec::new(),
            embedding: None,
            within: Vec::new(),
        }
    }

    /// The path of the directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `127.0.0.1:PORT`, the address that the gateway will serve.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The endpoint at `/mcp`.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address())
    }

    /// Sets an environment variable for every command.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has a program with Witgate in it serve, in place of `witgate serve`.
    pub fn embedded_in(mut self, program: &'static str) -> Self {
        self.embedding = Some(program);
        self
    }

    /// Has another program start the gateway, for example a shell whose script ends with `exec "$@"`. Its `arguments`
    /// are followed by the command to serve.
    pub fn within(mut self, arguments: &[&str]) -> Self {
        self.within = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self
    }

    /// Writes a file.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Copies a component into `plugins/`.
    pub fn component(&self, name: &str) -> PathBuf {
        let file = Path::new(name).file_name().unwrap().to_str().unwrap();
        let path = self.dir().join(format!("plugins/{file}.wasm"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(component(name), &path).unwrap();
        path
    }

    /// Writes `witgate.toml`: a `[server]` with `server` in it, followed by `rest`.
    pub fn config(&self, server: &str, rest: &str) -> PathBuf {
        let (port, admin) = (self.port, self.admin);
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\nadmin_listen = \"127.0.0.1:{admin}\"\n{server}\n{rest}"
        );
        self.file("witgate.toml", text)
    }

    /// A `witgate` command in the directory. Its environment has the variables that programs need, and those of
    /// [`Setup::env`].
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of("witgate", arguments)
    }

    /// As [`Setup::command`], with another program of the workspace.
    pub fn command_of(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program(name));
        command.args(arguments).current_dir(self.dir()).env_clear().stdin(Stdio::null());
        for name in ["PATH", "HOME", "LANG", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // All tests share the compiled components.
        command.env("WITGATE_CACHE", workspace().join("target/witgate-cache"));
        command.env("RUST_LOG", "witgate=debug").envs(self.env.iter().cloned());
        command
    }

    /// A command that another program starts.
    pub fn started_by(&self, program: &str, arguments: &[String], command: &Command) -> Command {
        let mut outer = Command::new(program);
        outer.args(arguments).arg(command.get_program()).args(command.get_args());
        outer.current_dir(self.dir()).env_clear().stdin(Stdio::null());
        outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        outer
    }

    /// Runs a `witgate` command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Makes a key with the real command and returns it.
    pub fn key(&self, arguments: &[&str]) -> String {
        let output = self.run(&[&["key", "create", "--json"], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let output_json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        output_json["key"].as_str().unwrap().to_owned()
    }

    /// Starts the gateway, and returns once the endpoint answers.
    pub fn serve(self) -> Running {
        let log = Arc::default();
        let child = self.start(&log);
        let mut running = Running { setup: self, child, log };
        running.await_port();
        running
    }

    fn start(&self, log: &Arc<Mutex<String>>) -> Child {
        let mut command = match self.embedding {
            Some(program) => self.command_of(program, &[]),
            None => self.command(&["serve"]),
        };
        if let Some((program, arguments)) = self.within.split_first() {
            command = self.started_by(program, arguments, &command);
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let reader = BufReader::new(child.stderr.take().unwrap());
        let lines = Arc::clone(log);
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                let mut log = lines.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        child
    }
}

/// A running `witgate`. It is killed when this value is dropped.
pub struct Running {
    setup: Setup,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Running {
    /// The set-up of the gateway.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.setup.address()
    }

    /// The endpoint at `/mcp`.
    pub fn url(&self) -> String {
        self.setup.url()
    }

    /// The admin listener.
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.setup.admin)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a text in the log, and returns the log.
    pub fn await_log(&self, text: &str) -> String {
        await_some(&format!("`{text}` in the log"), || Some(self.log()).filter(|log| log.contains(text)))
    }

    /// The output of `witgate plugin list --json`.
    pub fn plugins(&self) -> serde_json::Value {
        let output = self.setup.run(&["plugin", "list", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Kills the gateway, so that it cannot clean up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The number of the gateway's threads, and of its open files.
    pub fn threads_and_files(&self) -> (usize, usize) {
        let count = |what| std::fs::read_dir(format!("/proc/{}/{what}", self.pid())).unwrap().count();
        (count("task"), count("fd"))
    }

    /// Kills the gateway, so that it cannot clean up, and starts it again with an empty log.
    pub fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Starts the gateway again after [`Running::kill`], with an empty log.
    pub fn start_again(&mut self) {
        self.log = Arc::default();
        self.child = self.setup.start(&self.log);
        self.await_port();
    }

    /// Sends a signal by its name, `TERM` for example.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the gateway's end and returns its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        await_some("the process to end", || self.child.try_wait().unwrap()).code()
    }

    fn await_port(&mut self) {
        let address = self.address();
        await_some("the endpoint to listen", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended with {status}:\n{}", self.log());
            }
            std::net::TcpStream::connect(&address).ok()
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The gateway's children end when their standard input is closed, also after a kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of witgate\n{}", self.log());
        }
    }
}

/// A diagnostic without the frame and the line breaks that fit it to a terminal.
pub fn unframed(text: &str) -> String {
    let bare = text.replace(['│', '×', '·', '╭', '╰', '─'], " ");
    bare.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Polls until `look` returns a value.
pub fn await_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
