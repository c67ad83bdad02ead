//! Streams that go on after their caller has lost the right to them: notifications of a resource, and results of a
//! task.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;
use witgate_tests::gateway::{Running, Setup, workspace};

use crate::caller::{Answer, Caller, until};

const EVERYTHING: &str = "allow = ['*', 'resource:file:///*']";

/// Writes the configuration with these rules for users.
fn write(setup: &Setup, user: &str) {
    let script = workspace().join("host/upstream/src/child/tests/server.py");
    setup.config(
        "",
        &format!(
            "[upstreams.talks]\ncommand = [\"python3\", \"-u\", {script:?}]\nshared = true\n\
             [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
             [policies.roles]\nkind = \"rbac\"\n\
             [policies.roles.config.roles]\nadmin = {{ allow = ['*', 'resource:*'] }}\nuser = {{ {user} }}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"roles\"]\n"
        ),
    );
}

struct Testbed {
    running: Running,
    ada: Caller,
    session: String,
    admin: Caller,
    admins: String,
}

impl Testbed {
    async fn new() -> Self {
        let setup = Setup::new();
        write(&setup, EVERYTHING);
        let [ada, admin] = ["user", "admin"].map(|role| setup.key(&[role, "--role", role]));
        let running = setup.serve();
        let [ada, admin] = [ada, admin].map(|key| Caller::new(running.url(), Some(&key)));
        let (session, admins) = (ada.open_session().await, admin.open_session().await);
        Self { running, ada, session, admin, admins }
    }

    /// Tightens the rules for users, and waits until `probe` is refused.
    async fn tighten(&self, user: &str, probe: &str) {
        assert!(self.ada.call_in(&self.session, probe, json!({})).await.is_result());
        write(self.running.setup(), user);
        until("the rules to be in force", async || {
            (self.ada.call_in(&self.session, probe, json!({})).await.status == 403).then_some(())
        })
        .await;
    }

    async fn touch(&self, uri: &str) {
        let touched = self.admin.call_in(&self.admins, "touch", json!({ "uri": uri })).await;
        assert!(touched.is_result(), "{touched:?}");
    }

    /// Begins a job of ada's, and returns its task.
    async fn begin(&self, tool: &str, arguments: Value) -> Value {
        let params = json!({ "name": tool, "arguments": arguments, "task": {} });
        let answer = self.ada.ask_in(&self.session, "tools/call", params).await;
        assert!(answer.is_result(), "{answer:?}");
        answer.body["result"]["task"]["taskId"].clone()
    }

    async fn ask(&self, method: &str, task: &Value) -> Answer {
        self.ada.ask_in(&self.session, method, json!({ "taskId": task })).await
    }
}

/// The messages on a stream up to the one that has `last` in it.
async fn stream_text(
    stream: &mut (impl StreamExt<Item = reqwest::Result<bytes::Bytes>> + Unpin),
    last: &str,
) -> String {
    let mut text = String::new();
    while !text.contains(last) {
        let chunk =
            timeout(Duration::from_secs(60), stream.next()).await.expect("it comes").expect("it goes on");
        text.push_str(&String::from_utf8_lossy(&chunk.unwrap()));
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_of_a_resource_end_with_the_right_to_it() {
    let testbed = Testbed::new().await;
    for uri in ["file:///pub/a", "file:///secret/a"] {
        let subscribed =
            testbed.ada.ask_in(&testbed.session, "resources/subscribe", json!({ "uri": uri })).await;
        assert!(subscribed.is_result(), "{subscribed:?}");
    }
    let mut stream = testbed.ada.listen(&testbed.session).await.bytes_stream();
    for uri in ["file:///pub/a", "file:///secret/a"] {
        testbed.touch(uri).await;
        assert!(stream_text(&mut stream, "list_changed").await.contains(uri), "as long as she may");
    }
    testbed.tighten("allow = ['echo', 'resource:file:///pub/*']", "initialized").await;
    testbed.touch("file:///secret/a").await;
    let after = stream_text(&mut stream, "list_changed").await;
    assert!(!after.contains("resources/updated"), "{after}");
    testbed.touch("file:///pub/a").await;
    assert!(
        stream_text(&mut stream, "list_changed").await.contains("file:///pub/a"),
        "what she may still hear"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_ends_the_stream() {
    let testbed = Testbed::new().await;
    let subscribe = json!({ "uri": "file:///pub/a" });
    assert!(testbed.ada.ask_in(&testbed.session, "resources/subscribe", subscribe).await.is_result());
    let mut stream = testbed.ada.listen(&testbed.session).await.bytes_stream();
    assert!(testbed.running.setup().run(&["key", "revoke", "user"]).status.success());
    let end = async {
        loop {
            testbed.touch("file:///pub/a").await;
            let Some(chunk) = stream.next().await else { return };
            let _ = chunk;
        }
    };
    timeout(Duration::from_secs(20), end).await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_ends_with_the_right_to_the_call_that_started_it() {
    let testbed = Testbed::new().await;
    let (small, large) = (json!({ "limit": 5 }), json!({ "limit": 500 }));
    let denied = testbed.begin("job-a", json!({})).await;
    let [within, beyond] = [testbed.begin("job-b", small).await, testbed.begin("job-b", large).await];
    let mut stream = testbed.ada.listen(&testbed.session).await.bytes_stream();
    for task in [&denied, &within, &beyond] {
        for method in ["tasks/get", "tasks/result"] {
            assert!(testbed.ask(method, task).await.is_result(), "{method} {task}");
        }
    }
    let rules = "allow = ['*'], deny = ['job-a', 'initialized'], conditions = [{ on = 'job-b', argument = '/limit', max = 10 }]";
    testbed.tighten(rules, "initialized").await;
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        for task in [&denied, &beyond] {
            let refused = testbed.ask(method, task).await;
            assert_eq!(refused.status, 403, "{method} {task}: {refused:?}");
        }
        assert!(testbed.ask(method, &within).await.is_result(), "{method}");
    }
    let answer = testbed.ada.ask_in(&testbed.session, "tasks/list", json!({})).await;
    let ids: Vec<_> =
        answer.body["result"]["tasks"].as_array().unwrap().iter().map(|task| &task["taskId"]).collect();
    assert_eq!(ids, [&within]);
    assert_eq!(testbed.ask("tasks/get", &json!("task-99")).await.reason(), Some("task-not-found"));
    let of_another = testbed.admin.ask_in(&testbed.admins, "tasks/get", json!({ "taskId": within })).await;
    assert_eq!(of_another.reason(), Some("task-not-found"));
    // On a shared child, notifications about a task go to nobody.
    assert!(testbed.admin.call_in(&testbed.admins, "news", json!({})).await.is_result());
    testbed.touch("file:///pub/a").await;
    assert!(!stream_text(&mut stream, "list_changed").await.contains("notifications/tasks"));
}
