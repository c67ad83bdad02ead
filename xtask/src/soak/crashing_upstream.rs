//! An upstream that is killed, and started again at the same address.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

/// Time for which the upstream runs, and for which it is down.
const ALIVE: Duration = Duration::from_millis(1100);
const DEAD: Duration = Duration::from_millis(300);

pub(super) struct CrashingUpstream {
    program: PathBuf,
    address: String,
    child: Child,
}

/// An upstream that crashes again and again until this value is dropped.
pub(super) struct Crashes {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CrashingUpstream {
    pub(super) fn start(programs: &Path) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let program = programs.join("plain-upstream");
        let child = start(&program, &address)?;
        Ok(Self { program, address, child })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn crash(mut self) -> Crashes {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                thread::sleep(ALIVE);
                self.end();
                thread::sleep(DEAD);
                if let Ok(child) = start(&self.program, &self.address) {
                    self.child = child;
                }
            }
        });
        Crashes { stop, thread: Some(thread) }
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for CrashingUpstream {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Crashes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn start(program: &Path, address: &str) -> Result<Child> {
    let mut command = Command::new(program);
    command.args(["--listen", address]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("cannot start {command:?}"))
}
