//! The fixture upstream as a process: the server that the tests put behind Witgate.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use witgate_tests::fixture::{
    Fixture,
    transports::{Endpoint, Http, stdio},
};

/// An MCP server with one of everything, for tests.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address to serve HTTP on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// No sessions, in no era.
    #[arg(long)]
    stateless: bool,
    /// Plain JSON answers instead of event streams.
    #[arg(long, requires = "stateless")]
    json: bool,
    /// Serve on stdin and stdout instead of HTTP.
    #[arg(long, conflicts_with_all = ["listen", "stateless", "json"])]
    stdio: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(run(arguments));
    // A pending read of stdin would keep the process alive.
    runtime.shutdown_timeout(Duration::ZERO);
    outcome
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    stop_on_signal(&stop)?;
    if arguments.stdio {
        return stdio(Fixture::new(), stop).await;
    }
    stop_with_parent(&stop)?;
    let endpoint = Endpoint::bind(arguments.listen).await?;
    say_where(&endpoint.url());
    let http = Http { stateless: arguments.stateless, json: arguments.json };
    endpoint.serve(Fixture::new(), http, stop).await
}

/// Prints the one line on stdout, which tells the parent process where to connect.
#[expect(clippy::print_stdout, reason = "a program says where it listens")]
fn say_where(url: &str) {
    println!("listening {url}");
}

fn stop_on_signal(stop: &CancellationToken) -> anyhow::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).context("cannot handle signals")?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    Ok(())
}

/// Stops at the end of stdin, so that the fixture ends with its test. Only if stdin is a pipe: a process that was
/// started in the background reads an end at once.
fn stop_with_parent(stop: &CancellationToken) -> anyhow::Result<()> {
    use std::os::{fd::AsFd, unix::fs::FileTypeExt};

    let stdin = std::fs::File::from(io::stdin().as_fd().try_clone_to_owned()?);
    if stdin.metadata()?.file_type().is_fifo() {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            stop.cancel();
        });
    }
    Ok(())
}
