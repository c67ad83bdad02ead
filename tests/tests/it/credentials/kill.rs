//! A process that is killed after a provider has answered: the former grant survives, or the new one.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use witgate_tests::gateway::Setup;

use super::provider::{Provider, said};
use crate::kill::{Chance, kills};

/// The time after an answer within which a process is killed.
const LONGEST: Duration = Duration::from_millis(8);

#[test]
fn a_kill_after_the_answer_leaves_the_former_grant_or_the_new_one() {
    let (provider, answers) = Provider::start(0);
    let setup = Setup::new();
    setup.config(
        "",
        &format!(
            "[upstreams.u]\nurl = 'https://u.example.com/mcp'\ncredential = 'hub'\n{}{}",
            provider.credential(),
            super::POLICIES
        ),
    );
    setup.key(&["ada", "--allow", "*"]);
    provider.log_in(&setup);
    let (mut chance, mut lost) = (Chance(0x6ea7), 0);
    // By the milliseconds between the answer and the kill: kills, and tokens lost.
    let mut by_delay = BTreeMap::<u128, (u64, u64)>::new();
    let all = kills(100);
    for _ in 0..all {
        let mut command = setup.command(&["credential", "test", "hub"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        answers.recv_timeout(Duration::from_secs(60)).expect("an answer of the provider");
        let delay = chance.within(LONGEST);
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
        let of_delay = by_delay.entry(delay.as_millis()).or_default();
        of_delay.0 += 1;
        let begin = Instant::now();
        let next = setup.run(&["credential", "test", "hub"]);
        let text = said(&next);
        assert!(begin.elapsed() < Duration::from_secs(30), "{text}");
        if next.status.success() {
            answers.recv_timeout(Duration::from_secs(60)).expect("an answer of the provider");
        } else {
            // The one other thing that may be said.
            assert!(text.contains("its login has ended"), "{text}");
            lost += 1;
            of_delay.1 += 1;
            provider.log_in(&setup);
        }
    }
    let left = std::fs::read_dir(setup.dir().join("witgate.state/credentials")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".new")), "{left:?}");
    let result = format!("{all} kills: {lost} tokens lost; by milliseconds: {by_delay:?}");
    eprintln!("{result}");
    assert!(lost * 4 <= all, "{result}");
}
