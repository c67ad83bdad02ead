//! Secrets from the API of Vault, by its command-line program, with a real server (OpenBao).

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use witgate_tests::clients::Clients;
use witgate_tests::gateway::{Setup, await_some};
use witgate_tests::recorder::Recorder;

use super::{await_credential, over_http, serve};

const ROOT: &str = "vault-root-token-0123456789";

/// A server for development, which keeps everything in memory.
struct Server {
    process: Child,
    program: PathBuf,
    url: String,
    home: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let program = Clients::installed().unwrap().python().with_file_name("bao");
        let on_path = || {
            std::env::split_paths(&std::env::var_os("PATH")?)
                .map(|dir| dir.join("bao"))
                .find(|at| at.is_file())
        };
        let program =
            if program.is_file() { program } else { on_path().expect("bao: run `cargo xtask tools`") };
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let home = tempfile::tempdir().unwrap();
        let process = Command::new(&program)
            .args(["server", "-dev", "-dev-no-store-token"])
            .args([format!("-dev-root-token-id={ROOT}"), format!("-dev-listen-address={address}")])
            .env("HOME", home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, program, url: format!("http://{address}"), home };
        await_some("the server", || server.put("first-of-vault").then_some(()));
        server
    }

    /// Writes the secret; false if the server does not answer.
    fn put(&self, value: &str) -> bool {
        let mut command = Command::new(&self.program);
        command.args(["kv", "put", "secret/x", &format!("value={value}")]).env("HOME", self.home.path());
        command.env("BAO_ADDR", &self.url).env("BAO_TOKEN", ROOT).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_vault_is_renewed() {
    let (server, recorder) = (Server::start(), Recorder::start());
    let setup = Setup::new().env("BAO_ADDR", &server.url).env("BAO_TOKEN", ROOT);
    let source = format!(
        "{{ exec = [{:?}, 'kv', 'get', '-field=value', 'secret/x'], exec_env = ['BAO_ADDR', 'BAO_TOKEN'], ttl_s = 5 }}",
        server.program
    );
    let (running, caller) = serve(setup, &over_http(&recorder, &source));
    await_credential(&recorder, &caller, "first-of-vault").await;
    assert!(server.put("second-of-vault"));
    await_credential(&recorder, &caller, "second-of-vault").await;
    let log = running.await_log("the upstream's new headers or environment are in use");
    assert!(!log.contains("-of-vault") && !log.contains(ROOT), "{log}");
}
