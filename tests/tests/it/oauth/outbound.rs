//! A Witgate that calls another one with tokens of a real authorization server.

use std::time::{Duration, Instant};

use witgate_tests::gateway::{Running, Setup};
use witgate_tests::oauth::{Make, Plan, ROBOT};

use super::{Making, READ, Testbed, hello};
use crate::caller::Caller;

/// Lifetime of tokens in seconds. They end several times during the test.
const LIFETIME_S: u32 = 4;

const WRONG_SECRET: &str = "a-wrong-secret-of-the-robot";

/// A Witgate for callers with a key, whose upstream is the one in the testbed.
async fn in_front_of(testbed: &Testbed, secret: &str) -> (Running, Caller) {
    let (id, _) = ROBOT;
    let resource = testbed.resource("signed");
    let token_url = testbed.server.endpoint("token_endpoint").await.unwrap();
    let setup = Setup::new().env("ROBOT_SECRET", secret);
    setup.config(
        "",
        &format!(
            "[upstreams.inner]\nurl = '{resource}'\ncredential = 'robot'\n\
             [credentials.robot]\nkind = 'client-credentials'\ntoken_url = '{token_url}'\nclient_id = '{id}'\n\
             client_secret = {{ env = 'ROBOT_SECRET' }}\nresource = '{resource}'\nscopes = ['{READ}']\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n"
        ),
    );
    let key = setup.key(&["ada", "--allow", "*"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    (running, caller)
}

fn testbed(make: Make) -> Testbed {
    Making { plan: Plan::default().ttl_s(LIFETIME_S), ..Making::of(make) }.start()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_while_tokens_end_and_are_renewed() {
    for make in Make::ALL {
        let testbed = testbed(make);
        let (running, caller) = in_front_of(&testbed, ROBOT.1).await;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(3 * u64::from(LIFETIME_S)) {
            let answer = caller.call("echo", hello()).await;
            assert!(answer.is_result(), "{make:?}: {answer:?}\n{}", running.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!running.log().contains("eyJ"), "{make:?}: a token in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_client_secret_denies_calls_with_its_own_reason() {
    for make in Make::ALL {
        let testbed = testbed(make);
        let (running, caller) = in_front_of(&testbed, WRONG_SECRET).await;
        let answer = caller.call("echo", hello()).await;
        assert_eq!(
            (answer.status, answer.reason()),
            (200, Some("credential-rejected")),
            "{make:?}: {answer:?}"
        );
        assert!(!running.log().contains(WRONG_SECRET), "{make:?}: the secret in the log");
    }
}
