//! A trial of a command: one process gets one request, and shows whether it behaves as a server over stdio has to.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt as _};
use tokio::time::timeout;

use super::pipes::{Launch as _, Pipes};
use super::program::Program;
use super::wire::{Incoming, MessageType};
use crate::child_credentials::ProcessCredentials;
use witgate_base::party::Party;
use witgate_config::{self as config, UpstreamTarget};
use witgate_runtime::lines::input::{LineOutcome, LineReader};
use witgate_runtime::shares::{Capacity, Shares};

/// Maximum time for the answer. A package runner may have to fetch the program first.
const ANSWER: Duration = Duration::from_secs(30);

/// Maximum time for the end of the process after the end of its input. Clients and Witgate kill it soon after.
const END: Duration = Duration::from_secs(2);

/// The request of the oldest clients. A server that only supports the stateless era answers with an error.
const INITIALIZE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"#,
    r#""clientInfo":{"name":"witgate","version":""#,
    env!("CARGO_PKG_VERSION"),
    "\"}}}\n"
);

/// The behaviour of a command. It contains nothing that the process has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandTrial {
    /// True if there was an answer in time.
    pub has_answered: bool,
    /// True if the process has ended by itself before it answered.
    pub has_ended_early: bool,
    /// The number of lines on standard output that are no messages.
    pub noise: usize,
    /// True if the process ended soon after its input.
    pub ends_with_input: bool,
}

/// Starts the command of an upstream once, without the credentials that change while a process runs. None: it has no
/// command.
///
/// # Errors
/// If it cannot be started.
pub async fn try_command(config: &config::Upstream) -> Option<Result<CommandTrial, String>> {
    let UpstreamTarget::Command { argv, env, .. } = &config.target else { return None };
    let program = Program {
        name: config.name.clone(),
        argv: argv.clone(),
        env: env.clone(),
        lifetimes: Vec::new(),
        identity: Vec::new(),
        credentials: ProcessCredentials::default().into(),
    };
    Some(run(&program, config.max_message).await)
}

async fn run(program: &Program, max_message: usize) -> Result<CommandTrial, String> {
    let seats = Shares::new(Capacity { most: 1, most_of_one: 1 });
    let seat = seats.take(&Party::Everybody).ok_or("there is no room for a process")?;
    let Pipes { mut input, output, process } = program.launch(seat, None).await?;
    let mut lines = LineReader::new(output, max_message);
    let mut trial = CommandTrial::default();
    // A process that has ended reads nothing, which the reader finds out.
    drop(input.write_all(INITIALIZE.as_bytes()).await);
    drop(input.flush().await);
    // Without an answer in time, there is none.
    drop(timeout(ANSWER, trial.await_answer(&mut lines)).await);
    drop(input);
    if !trial.has_ended_early {
        trial.ends_with_input = timeout(END, trial.await_end(&mut lines)).await.is_ok();
    }
    if let Some(process) = process {
        process.kill();
    }
    // The process has ended when it holds its seat no more.
    drop(timeout(END, seats.all_free()).await);
    Ok(trial)
}

impl CommandTrial {
    /// Reads until there is an answer, or the process has ended.
    async fn await_answer<R: AsyncRead + Unpin>(&mut self, lines: &mut LineReader<R>) {
        while let Some(is_answer) = self.read(lines).await {
            if is_answer {
                self.has_answered = true;
                return;
            }
        }
        self.has_ended_early = true;
    }

    /// Reads until the process has closed its output.
    async fn await_end<R: AsyncRead + Unpin>(&mut self, lines: &mut LineReader<R>) {
        while self.read(lines).await.is_some() {}
    }

    /// Reads a line. True: it answers the request. None: there are no more lines.
    async fn read<R: AsyncRead + Unpin>(&mut self, lines: &mut LineReader<R>) -> Option<bool> {
        match lines.next().await {
            Ok(LineOutcome::Line(line)) => {
                let message = Incoming::read(&line);
                self.noise += usize::from(message.is_none());
                Some(message.is_some_and(|message| {
                    matches!(message.what, MessageType::Response { .. }) && message.id() == Some("1")
                }))
            }
            Ok(LineOutcome::TooLong(_)) => Some(false),
            Ok(LineOutcome::End) | Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that is a script of the shell.
    async fn tried(script: &str) -> CommandTrial {
        let program = Program {
            name: "a".to_owned(),
            argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: Vec::new(),
            lifetimes: Vec::new(),
            identity: Vec::new(),
            credentials: ProcessCredentials::default().into(),
        };
        run(&program, 1 << 20).await.unwrap()
    }

    const ANSWERED: CommandTrial =
        CommandTrial { has_answered: true, has_ended_early: false, noise: 0, ends_with_input: true };

    #[tokio::test]
    async fn a_server_that_answers_and_ends_with_its_input_is_good() {
        let script = r#"read line; echo '{"jsonrpc":"2.0","id":1,"result":{}}'; cat"#;
        assert_eq!(tried(script).await, ANSWERED);
    }

    #[tokio::test]
    async fn noise_is_counted() {
        let script = r#"echo starting; read line; echo '{"jsonrpc":"2.0","id":1,"error":{}}'; cat"#;
        assert_eq!(tried(script).await, CommandTrial { noise: 1, ..ANSWERED });
    }

    #[tokio::test]
    async fn a_server_that_goes_on_without_input_is_noticed_and_ended() {
        let script = r#"read line; echo '{"jsonrpc":"2.0","id":1,"result":{}}'; while :; do sleep 1; done"#;
        assert_eq!(tried(script).await, CommandTrial { ends_with_input: false, ..ANSWERED });
    }

    #[tokio::test]
    async fn a_process_that_ends_has_not_answered() {
        let ended = CommandTrial { has_ended_early: true, ..CommandTrial::default() };
        assert_eq!(tried("exit 1").await, ended);
    }
}
