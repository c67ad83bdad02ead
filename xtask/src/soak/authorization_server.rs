//! An authorization server that answers questions about tokens (RFC 7662), and that fails and recovers again and
//! again.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;

/// The one valid token.
pub(super) const GOOD: &str = "a-good-token-of-somebody";

/// Time for which the server is up, and for which it is down.
const THERE: Duration = Duration::from_millis(1500);
const AWAY: Duration = Duration::from_millis(700);

/// Interval at which the server checks whether it must stop.
const GLANCE: Duration = Duration::from_millis(5);

pub(super) struct AuthorizationServer {
    listener: TcpListener,
    address: String,
}

/// A server that fails and recovers until this value is dropped.
pub(super) struct Flapping {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl AuthorizationServer {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        Ok(Self { listener, address })
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}/introspect", self.address)
    }

    pub(super) fn flap(self) -> Flapping {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut listener = Some(self.listener);
            while !stopped.load(Ordering::Relaxed) {
                // Another program may have the address for a moment: the server then stays down for longer.
                listener = listener.or_else(|| TcpListener::bind(&self.address).ok());
                if let Some(listener) = listener.take() {
                    serve_for_a_while(&listener, &stopped);
                }
                thread::sleep(AWAY);
            }
        });
        Flapping { stop, thread: Some(thread) }
    }
}

impl Drop for Flapping {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// At the end of its time the server cuts its connections, also in the middle of an answer.
fn serve_for_a_while(listener: &TcpListener, stopped: &AtomicBool) {
    let is_gone = Arc::new(AtomicBool::new(false));
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    let mut left = THERE;
    while !left.is_zero() && !stopped.load(Ordering::Relaxed) {
        while let Ok((stream, _)) = listener.accept() {
            let is_gone = Arc::clone(&is_gone);
            thread::spawn(move || answer_all(&stream, &is_gone));
        }
        thread::sleep(GLANCE);
        left = left.saturating_sub(GLANCE);
    }
    is_gone.store(true, Ordering::Relaxed);
}

fn answer_all(stream: &TcpStream, is_gone: &AtomicBool) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(THERE));
    let mut reader = BufReader::new(stream);
    while let Some(form) = take(&mut reader) {
        if is_gone.load(Ordering::Relaxed) {
            return;
        }
        let good = form.split('&').any(|field| field == format!("token={GOOD}"));
        let body = match good {
            true => {
                r#"{"active":true,"sub":"somebody","roles":["user"],"aud":"https://mcp.example.com/mcp"}"#
            }
            false => r#"{"active":false}"#,
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut writer = stream;
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads the form of the next request.
fn take(reader: &mut impl BufRead) -> Option<String> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut form = vec![0; length];
    reader.read_exact(&mut form).ok()?;
    String::from_utf8(form).ok()
}
