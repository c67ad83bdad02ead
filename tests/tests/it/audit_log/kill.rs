//! A gateway that is killed under load: the log is intact each time, and with `before-answer` no answered call is
//! missing.

use std::collections::HashSet;
use std::process::{Child, Stdio};

use witgate_audit::verify::LogVerdict;
use witgate_tests::gateway::{Setup, await_some};

use super::{config, entries, verified};
use crate::kill::{kill_under_load, kills};

#[tokio::test(flavor = "multi_thread")]
async fn a_log_before_the_answer_has_every_answered_call() {
    let (answered, recorded) = kill_often(20, "sync = 'before-answer'").await;
    let missing: Vec<_> = answered.difference(&recorded).collect();
    assert!(missing.is_empty(), "{} of {} are missing: {missing:?}", missing.len(), answered.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batched_log_is_intact_after_each_kill() {
    let (answered, recorded) = kill_often(10, "").await;
    let missing = answered.difference(&recorded).count();
    assert!(missing < answered.len(), "all {missing} answered calls are missing");
}

/// Starts and kills a gateway under load. Returns the tools that were called with an answer, and those in the log.
async fn kill_often(share: u64, settings: &str) -> (HashSet<String>, HashSet<String>) {
    let setup = Setup::new();
    config(&setup, settings);
    let key = setup.key(&["user", "--allow", "*"]);
    let intact = |round: u64| {
        let verification = verified(&setup);
        assert_eq!(verification.verdict, LogVerdict::Intact, "kill {round}: {verification:?}");
    };
    let answered = kill_under_load(&setup, &key, kills(share), || serve(&setup), intact).await;
    // The last process has left an incomplete end, which the next one cuts.
    let mut child = serve(&setup);
    child.kill().unwrap();
    child.wait().unwrap();
    let entries = entries(&setup);
    let recorded = entries.iter().filter_map(|entry| Some(entry["target"].as_str()?.to_owned()));
    (answered, recorded.collect())
}

fn serve(setup: &Setup) -> Child {
    let mut serve = setup.command(&["serve"]);
    let mut child = serve.env("RUST_LOG", "off").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    await_some("it to listen", || {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::net::TcpStream::connect(setup.address()).ok()
    });
    child
}
