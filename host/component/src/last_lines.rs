//! A component's output during a hook: log lines, and its standard streams, where interpreted languages report errors.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use witgate_plugin::Level;

use witgate_base::printable::clean;

/// Lines of a hook that are kept for the report of a failure. The trace of a small script has fewer.
const KEPT: usize = 12;

/// Bytes of a stream that wait to be split into lines. Of more, only the last are kept.
const WAITING: usize = 32 << 10;

/// Maximum size of one write of a component. The streams always permit at least this size.
const AT_ONCE: usize = 64 << 10;

/// Minimum length of a secret that is redacted. Shorter texts would occur in many words.
const SHORTEST_SECRET: usize = 4;

/// A standard stream of one instance.
#[derive(Clone, Debug, Default)]
pub(super) struct CapturedStream(Arc<StreamState>);

#[derive(Debug, Default)]
struct StreamState {
    /// True if there is any output. A hook without output costs no more than this check.
    any: AtomicBool,
    bytes: Mutex<Vec<u8>>,
}

impl CapturedStream {
    /// The output since the last call, if there is any.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        if !self.0.any.load(Ordering::Relaxed) {
            return None;
        }
        self.0.any.store(false, Ordering::Relaxed);
        Some(std::mem::take(&mut *self.0.bytes.lock()))
    }

    fn put(&self, more: &[u8]) {
        let mut bytes = self.0.bytes.lock();
        bytes.extend_from_slice(more);
        // The buffer is cut only now and then, so that it costs little.
        if bytes.len() > 2 * WAITING {
            let rest = bytes.len() - WAITING;
            bytes.drain(..rest);
        }
        self.0.any.store(true, Ordering::Relaxed);
    }
}

impl IsTerminal for CapturedStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for CapturedStream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    /// For a later version of WASI, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }
}

impl OutputStream for CapturedStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.put(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(AT_ONCE)
    }
}

impl Pollable for CapturedStream {
    // The signature of `async_trait`.
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

/// The last lines of the output, oldest first; true if there were more than `most`.
pub(super) fn last_lines(written: &[u8], most: usize) -> (Vec<String>, bool) {
    let text = String::from_utf8_lossy(written);
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let over = lines().count().saturating_sub(most);
    (lines().skip(over).map(str::to_owned).collect(), over > 0)
}

/// The last lines of output of a hook.
#[derive(Debug, Default)]
pub(super) struct LastLines(VecDeque<String>);

impl LastLines {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn keep(&mut self, level: Level, line: &str) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        self.0.push_back(format!("{level}: {}", clean(line).trim_end()));
    }

    pub(super) fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// A text without the given secrets.
pub fn redacted<'a>(text: &'a str, secrets: impl Iterator<Item = &'a str>) -> Cow<'a, str> {
    secrets.filter(|secret| secret.len() >= SHORTEST_SECRET).fold(Cow::Borrowed(text), |text, secret| {
        match text.contains(secret) {
            true => Cow::Owned(text.replace(secret, "****")),
            false => text,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_long_output_is_kept() {
        let stream = CapturedStream::default();
        for number in 0..100_000 {
            stream.put(format!("line {number}\n").as_bytes());
        }
        let written = stream.take().unwrap();
        assert!(written.len() <= 2 * WAITING, "{}", written.len());
        let (lines, more) = last_lines(&written, 3);
        assert_eq!(lines, ["line 99997", "line 99998", "line 99999"]);
        assert!(more);
        assert!(stream.take().is_none());
    }

    #[test]
    fn secrets_are_masked_in_the_last_lines() {
        let secrets = ["s3cret-token", "abc"];
        let text = redacted("no rule for s3cret-token in abc", secrets.into_iter());
        assert_eq!(text, "no rule for **** in abc");
    }
}
