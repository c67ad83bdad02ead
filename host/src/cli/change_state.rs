//! Waits until the running Witgate uses a file that a command has just written. The proof is the content: Witgate
//! reports the digest of the file that its policies were built from, and it must be the digest of this file.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::context::Context;
use super::control::{socket, time};
use super::outcome::Exit;
use super::terminal::Terminal;
use crate::control::protocol::{self, ControlCommand, GatewayStatus, PolicyState};
use crate::control::{self, AskError};
use witgate_base::digest::{digest_text, sha256};
use witgate_base::path::absolute;

/// Pause between two requests.
const PAUSE: Duration = Duration::from_millis(50);

/// The option that limits the waiting time.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct WaitOption {
    /// Longest time to wait until the running Witgate uses the change; 0s: do not wait
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// The state of a change in the running Witgate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ChangeState {
    /// The running Witgate uses it: the number of its generation.
    Yes(u64),
    /// No Witgate is running.
    Nobody,
    /// The command does not wait (`--wait 0s`).
    NotAsked,
    /// The running Witgate does not use the change, or does not report it. The text gives the reason, and what to do
    /// next.
    No(String),
}

impl ChangeState {
    /// The exit code of the command.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Yes(_) | Self::Nobody | Self::NotAsked => Exit::Done,
            Self::No(_) => Exit::NotInForce,
        }
    }

    /// The state for a program: true, false, or null if nobody was asked.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Yes(_) => true.into(),
            Self::No(_) => false.into(),
            Self::Nobody | Self::NotAsked => Value::Null,
        }
    }

    /// Prints the state for a person; for a program only a warning that explains the exit code.
    pub(super) fn say(&self, terminal: &Terminal) {
        match (self, terminal.is_json()) {
            (Self::No(_), true) => terminal.warn_json(&self.sentence()),
            _ => terminal.say(&self.sentence()),
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Yes(generation) => {
                format!("The running Witgate uses it (generation {generation}).")
            }
            Self::Nobody => "No running Witgate could be asked about this change. One over stdio notices it by itself, and the next one \
                             starts with it."
                .to_owned(),
            Self::NotAsked => "No running Witgate was asked about this change; `witgate plugin list --json` shows the files in use.".to_owned(),
            Self::No(why) => format!("The change is written, but NOT IN FORCE in the running Witgate: {why}"),
        }
    }
}

/// Waits until the running Witgate uses `file`. `has` tells whether a text of the file contains the change, since
/// others may write to the file meanwhile.
pub(super) fn wait(
    context: &Context,
    file: &Path,
    wait: WaitOption,
    has: impl Fn(&str) -> bool,
) -> ChangeState {
    wait_for(context, wait, |socket, patience| {
        SocketQuestion { socket: socket.to_owned(), file: file.to_owned() }.ask(patience, &has)
    })
}

/// Waits until the running Witgate uses a change, which `ask` asks it on its control socket, within a time limit.
pub(super) fn wait_for(
    context: &Context,
    wait: WaitOption,
    ask: impl Fn(&Path, Duration) -> SocketAnswer,
) -> ChangeState {
    if wait.wait.is_zero() {
        return ChangeState::NotAsked;
    }
    if context.config_path().is_none() {
        return ChangeState::Nobody;
    }
    let socket = match socket(context) {
        Ok(socket) => socket,
        Err(error) => return ChangeState::No(format!("its control socket cannot be determined: {error}")),
    };
    let started = Instant::now();
    loop {
        let left = wait.wait.saturating_sub(started.elapsed());
        let why = match ask(&socket, left.max(PAUSE)) {
            SocketAnswer::Answer(outcome) => return outcome,
            SocketAnswer::NotYet(why) => why,
        };
        if left.is_zero() {
            return ChangeState::No(why);
        }
        thread::sleep(PAUSE.min(left));
    }
}

/// The answer of the running Witgate about a change.
pub(super) enum SocketAnswer {
    /// A final answer.
    Answer(ChangeState),
    /// The change is not in force yet; the text gives the reason.
    NotYet(String),
}

struct SocketQuestion {
    socket: PathBuf,
    file: PathBuf,
}

impl SocketQuestion {
    fn ask(&self, patience: Duration, has: &impl Fn(&str) -> bool) -> SocketAnswer {
        // Read before the request: a digest that is in force by then is of a file that was written earlier.
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        if !has(&text) {
            let shown = self.file.display();
            let why = format!(
                "{shown} does not have the change any more; somebody has written over it. Repeat the command"
            );
            return SocketAnswer::Answer(ChangeState::No(why));
        }
        match control::ask_for(&self.socket, &ControlCommand::PluginList, patience) {
            Ok(status) => self.judge(&status, &digest_text(&sha256(text.as_bytes()))),
            Err(AskError::Nobody(_)) => SocketAnswer::Answer(ChangeState::Nobody),
            Err(AskError::Unanswered(why)) => SocketAnswer::NotYet(why),
        }
    }

    /// Compares the digests that the policies were built from with the digest of the file now.
    fn judge(&self, answer: &Value, digest: &str) -> SocketAnswer {
        let status = protocol::read::<GatewayStatus>(answer).ok();
        let reports_files =
            |status: &GatewayStatus| status.policies.iter().all(|policy| policy.files.is_some());
        let Some(status) = status.filter(reports_files) else {
            let socket = self.socket.display();
            let why = format!(
                "the one on {socket} does not report its files, so it is of another version; restart it"
            );
            return SocketAnswer::Answer(ChangeState::No(why));
        };
        let (mut found, mut behind, mut elsewhere) = (false, Vec::new(), false);
        for policy in &status.policies {
            for file in policy.files.iter().flatten() {
                let is_behind = file.digest.as_deref() != Some(digest);
                elsewhere |= !is_behind;
                if !self.is_meant(&file.file) {
                    continue;
                }
                found = true;
                if is_behind {
                    behind.push(policy.name.as_str());
                }
            }
        }
        // The gateway may see the file under another path, as in a container; two files with the same keys count as
        // the same.
        match (found || elsewhere, behind.as_slice()) {
            (true, []) => SocketAnswer::Answer(ChangeState::Yes(status.generation)),
            (true, behind) => SocketAnswer::NotYet(self.why_behind(&status, behind)),
            (false, _) => SocketAnswer::NotYet(format!(
                "the one that listens on {} reads {} for none of its policies: it runs with another configuration, or no \
                 pipeline has the policy. `witgate plugin list --json` shows which files it reads; `--wait 0s` skips this check{}",
                self.socket.display(),
                self.file.display(),
                reasons(&status)
            )),
        }
    }

    /// True if the gateway's path leads to this file, with links resolved.
    fn is_meant(&self, theirs: &str) -> bool {
        real(&self.file) == real(Path::new(theirs))
    }

    fn why_behind(&self, status: &GatewayStatus, behind: &[&str]) -> String {
        let unwatched = status.unwatched.iter().find(|unwatched| self.is_meant(&unwatched.file));
        let reason =
            unwatched.map(|unwatched| format!(". Its changes cause no notifications: {}", unwatched.reason));
        format!(
            "{} still uses the former {}{}{}",
            behind.join(", "),
            self.file.display(),
            reason.unwrap_or_default(),
            reasons(status)
        )
    }
}

/// The reasons that the gateway gives for refusing changes.
fn reasons(status: &GatewayStatus) -> String {
    let broken = status.policies.iter().filter(|policy| policy.state == PolicyState::Broken).map(|policy| {
        let (name, error) = (&policy.name, policy.error.as_deref().unwrap_or_default());
        format!(". `{name}` is broken, so each call that it judges is denied: {error}")
    });
    broken.collect::<String>() + &last_change(status)
}

/// The reason why the last change was refused, if it was.
fn last_change(status: &GatewayStatus) -> String {
    let Some(last) = &status.last_change else { return String::new() };
    match last.errors.as_deref().unwrap_or_default() {
        [] => String::new(),
        errors => format!(". Its last attempt, at {}, failed: {}", time(last.at), errors.join("; ")),
    }
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| absolute(path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(status: &Value) -> Result<ChangeState, String> {
        let question = SocketQuestion { socket: "/s".into(), file: "/none/keys.toml".into() };
        match question.judge(status, "sha256:new") {
            SocketAnswer::Answer(answer) => Ok(answer),
            SocketAnswer::NotYet(why) => Err(why),
        }
    }

    #[test]
    fn a_change_is_in_force_when_all_policies_that_read_the_file_use_it() {
        let policy = |name, digest| json!({ "name": name, "files": [{ "file": "/none/keys.toml", "digest": digest }] });
        let status = |policies: Value| json!({ "generation": 3, "policies": policies });
        let (new, old) = (policy("a", "sha256:new"), policy("b", "sha256:old"));
        assert_eq!(judged(&status(json!([new]))), Ok(ChangeState::Yes(3)));
        assert!(judged(&status(json!([new, old]))).unwrap_err().starts_with("b still uses"));
        assert!(judged(&status(json!([]))).unwrap_err().contains("for none of its policies"));
        let older = json!({ "name": "d" });
        for other in [status(json!([older])), json!("another form")] {
            assert!(
                matches!(judged(&other), Ok(ChangeState::No(why)) if why.contains("another version; restart it"))
            );
        }
        let hidden = json!({ "name": "c", "files": [{ "file": "/none/keys.toml", "digest": null }] });
        assert!(judged(&status(json!([hidden]))).is_err());
    }

    #[test]
    fn the_reason_comes_from_the_gateway() {
        let status = json!({
            "policies": [
                { "name": "a", "files": [{ "file": "/none/keys.toml", "digest": "sha256:old" }] },
                { "name": "b", "files": [], "state": "broken", "error": "its store is no TOML" },
            ],
            "unwatched": [{ "file": "/none/keys.toml", "reason": "it is a mount point itself" }],
            "last_change": { "at": 0, "errors": ["policy `a`: no"] },
        });
        let why = judged(&status).unwrap_err();
        for reason in ["a mount point itself", "policy `a`: no", "`b` is broken", "its store is no TOML"] {
            assert!(why.contains(reason), "{why}");
        }
    }
}
