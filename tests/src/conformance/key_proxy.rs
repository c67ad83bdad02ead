//! A proxy that adds one header: the suite has no option for one.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::Context;

use super::directory;

/// A running `key-proxy.mjs`. It ends when this value is dropped.
#[derive(Debug)]
pub struct KeyProxy {
    child: Child,
    url: String,
}

impl KeyProxy {
    /// Starts the proxy in front of `target`, with `header` as `Name: value`.
    ///
    /// # Errors
    /// When the proxy does not start.
    pub fn start(node: &Path, target: &str, header: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(node)
            .arg(directory().join("key-proxy.mjs"))
            .args(["--target", target])
            .env("KEY_PROXY_HEADER", header)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", node.display()))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        // From here on, dropping the value ends the proxy.
        let mut proxy = Self { child, url: String::new() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let url = line.trim().strip_prefix("listening ").context("the proxy does not listen")?;
        url.clone_into(&mut proxy.url);
        Ok(proxy)
    }

    /// The URL at which it serves the target.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for KeyProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
