//! Several upstreams at one endpoint, message by message.

use serde_json::{Value, json};
use witgate_tests::gateway::{RefusingPort, Running, Setup, workspace};
use witgate_tests::wire::{Answer, Request, STATEFUL, STATELESS};

/// Own tools as `own`, a server that is down as `down`, and a third one, at the endpoint `all`. A key may use all tools of
/// `own` but `add`.
fn gateway(down: &RefusingPort) -> (Running, String) {
    let setup = Setup::new();
    let rest = format!(
        r#"
        [upstreams.own]
        own_tools = true
        [upstreams.down]
        url = "http://127.0.0.1:{}/mcp"
        [upstreams.faulty]
        command = ["python3", "{}"]
        [endpoints.all]
        upstreams = ["own", "down", "faulty"]
        owns = {{ own = ["get_*"] }}
        [policies.keys]
        kind = "api-key"
        config = {{ store = "keys.toml" }}
        [pipeline]
        authenticate = ["keys"]
        authorize = ["keys"]
        "#,
        down.number(),
        workspace().join("tests/tests/it/endpoint_server.py").display()
    );
    setup.config("", &rest);
    let key = setup.key(&["ada", "--allow", "*", "--deny", "add"]);
    (setup.serve(), key)
}

/// A session of a caller with a key.
struct Session<'a> {
    gateway: &'a Running,
    key: &'a str,
    id: Option<String>,
}

impl<'a> Session<'a> {
    fn open(gateway: &'a Running, key: &'a str) -> (Self, Value) {
        let mut session = Self { gateway, key, id: None };
        let client = json!({ "name": "t", "version": "0" });
        let hello =
            json!({ "protocolVersion": STATEFUL, "capabilities": { "roots": {} }, "clientInfo": client });
        let opened = session.ask("initialize", hello);
        session.id = opened.header("mcp-session-id").map(str::to_owned);
        assert!(session.id.is_some(), "{opened:?}");
        let answer = session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        assert_eq!(answer.status, 202, "{answer:?}");
        (session, opened.result())
    }

    fn send(&self, message: &Value) -> Answer {
        let request = Request::post(&self.gateway.address(), "/all/mcp", message.to_string());
        self.as_caller(request.with("MCP-Protocol-Version", STATEFUL)).send()
    }

    fn as_caller(&self, request: Request) -> Request {
        let request = request.with("X-API-Key", self.key);
        match &self.id {
            Some(id) => request.with("Mcp-Session-Id", id),
            None => request,
        }
    }

    fn ask(&self, method: &str, params: Value) -> Answer {
        self.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }))
    }

    fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments }))
    }
}

#[test]
fn an_upstream_that_is_down_leaves_a_gap_and_no_more() {
    let down = RefusingPort::take();
    let (gateway, key) = gateway(&down);
    let (session, opened) = Session::open(&gateway, &key);
    assert_eq!(opened["_meta"]["witgate/unavailable"], json!(["down"]));
    let listed = session.ask("tools/list", json!({}));
    assert_eq!(listed.result()["_meta"]["witgate/unavailable"], json!(["down"]));
    let names = listed.names("tools", "name");
    for name in ["own__echo", "get_time", "faulty__echo", "faulty__get_time"] {
        assert!(names.contains(&name.to_owned()), "{name}: {names:?}");
    }
    for name in ["own__add", "faulty__add", "echo", "own__get_time"] {
        assert!(!names.contains(&name.to_owned()), "{name}: {names:?}");
    }
    assert_eq!(
        session.call("own__echo", json!({ "text": "hi" })).result()["content"][0]["text"],
        json!("hi")
    );
    assert_eq!(session.call("faulty__echo", json!({})).result()["content"][0]["text"], json!("faulty echo"));
    assert_eq!(session.call("down__echo", json!({})).refusal().2, "upstream-unreachable");
    gateway.await_log("lists of the endpoint lack this upstream's entries");
}

/// A tool that is not in the list cannot be called, and the other way round, whatever a server announces.
#[test]
fn lists_and_calls_agree() {
    let down = RefusingPort::take();
    let (gateway, key) = gateway(&down);
    let (session, _) = Session::open(&gateway, &key);
    for unknown in ["echo", "own__get_time", "other__echo", "own__", "__echo"] {
        let (_, code, _) = session.call(unknown, json!({})).refusal();
        assert_eq!(code, -32602, "{unknown}");
    }
    assert_eq!(session.call("own__add", json!({ "a": 1, "b": 2 })).status, 403);
    // `faulty` has a tool of the name that `own` keeps.
    let time = session.call("get_time", json!({})).result();
    assert!(time["structuredContent"]["unix"].is_u64(), "{time}");
    assert_eq!(
        session.call("faulty__get_time", json!({})).result()["content"][0]["text"],
        json!("faulty get_time")
    );
    let log = gateway.log();
    assert!(log.contains("upstream=\"faulty\"") && log.contains("get_time"), "{log}");
}

#[test]
fn a_session_is_its_callers_and_ends_everywhere() {
    let down = RefusingPort::take();
    let (gateway, key) = gateway(&down);
    let other = gateway.setup().key(&["eve", "--allow", "*"]);
    gateway.await_log("a new generation is live");
    let (session, _) = Session::open(&gateway, &key);
    let theft = Session { gateway: &gateway, key: &other, id: session.id.clone() };
    assert_eq!(theft.call("own__echo", json!({ "text": "hi" })).status, 404);
    assert_eq!(theft.call("faulty__echo", json!({})).status, 404);
    // Nobody else lets an upstream join that was down at the handshake.
    assert_eq!(theft.call("down__echo", json!({})).status, 404);
    assert_eq!(theft.as_caller(Request::new("DELETE", &gateway.address(), "/all/mcp")).send().status, 404);
    let wrong = Session { gateway: &gateway, key: "no-key", id: session.id.clone() };
    assert_eq!(wrong.call("unknown", json!({})).status, 401);
    assert_eq!(wrong.ask("tools/list", json!({})).status, 401);
    assert_eq!(session.call("own__echo", json!({ "text": "hi" })).status, 200);
    assert_eq!(session.as_caller(Request::new("DELETE", &gateway.address(), "/all/mcp")).send().status, 200);
    assert_eq!(session.call("own__echo", json!({ "text": "hi" })).status, 404);
}

/// A message about many tasks is no work for a sender whom nobody knows.
#[test]
fn a_subscription_to_tasks_is_small_and_its_sender_is_authenticated_first() {
    let down = RefusingPort::take();
    let (gateway, key) = gateway(&down);
    let listen = |key: &str, tasks: usize| {
        let tasks: Vec<_> = (0..tasks).map(|task| task.to_string()).collect();
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": STATELESS,
            "io.modelcontextprotocol/clientCapabilities": { "extensions": { "io.modelcontextprotocol/tasks": {} } },
        });
        let params = json!({ "_meta": meta, "notifications": { "taskIds": tasks } });
        let message =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params });
        let request = Request::post(&gateway.address(), "/all/mcp", message.to_string());
        let request =
            request.with("MCP-Protocol-Version", STATELESS).with("Mcp-Method", "subscriptions/listen");
        request.with("X-API-Key", key).send()
    };
    assert_eq!(listen("no-key", 1000).status, 401);
    assert_eq!(listen(&key, 1000).refusal().1, -32602, "nobody has started these tasks");
    assert_eq!(listen(&key, 1001).refusal().1, -32602);
}

/// Commands know the names of an endpoint, and answer for the upstream behind them.
#[test]
fn questions_about_access_can_name_an_endpoint() {
    let down = RefusingPort::take();
    let (gateway, _) = gateway(&down);
    let setup = gateway.setup();
    let read = |arguments: &[&str]| -> Value {
        let output = setup.run(&[&["--json"], arguments, &["--upstream", "all"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    let explained = read(&["explain", "--key", "ada", "--call", "own__echo"]);
    assert_eq!(
        (&explained["allowed"], &explained["question"]["upstream"], &explained["question"]["target"]),
        (&json!(true), &json!("own"), &json!("echo"))
    );
    assert_eq!(read(&["explain", "--key", "ada", "--call", "faulty__add"])["allowed"], json!(false));
    assert_eq!(
        read(&["explain", "--key", "ada", "--call", "get_time"])["question"]["upstream"],
        json!("own")
    );
    let unknown = setup.run(&["explain", "--key", "ada", "--call", "echo", "--upstream", "all"]);
    assert_eq!(unknown.status.code(), Some(69), "{unknown:?}");
    let who = read(&["who-can", "own__add"]);
    let ada = who["entries"].as_array().unwrap().iter().find(|entry| entry["name"] == "ada").unwrap();
    assert_eq!(ada["allowed"], json!(false), "{who}");
    let can = read(&["can", "--key", "ada"]);
    let names: Vec<_> = can["entries"].as_array().unwrap().iter().map(|entry| &entry["name"]).collect();
    for name in ["own__echo", "get_time", "faulty__echo", "faulty__get_time"] {
        assert!(names.contains(&&json!(name)), "{name}: {can}");
    }
    assert!(!names.contains(&&json!("own__get_time")) && !names.contains(&&json!("own__add")), "{can}");
    assert!(can["notes"].to_string().contains("`down` is left out"), "{can}");
}

#[test]
fn pages_of_lists_are_joined() {
    let down = RefusingPort::take();
    let (gateway, key) = gateway(&down);
    let (session, _) = Session::open(&gateway, &key);
    let first = session.ask("prompts/list", json!({}));
    assert_eq!(first.names("prompts", "name"), ["faulty__one"]);
    let cursor = first.result()["nextCursor"].clone();
    let second = session.ask("prompts/list", json!({ "cursor": cursor }));
    assert_eq!(second.names("prompts", "name"), ["faulty__two"]);
    assert_eq!(second.result().get("nextCursor"), None);
    assert_eq!(session.ask("prompts/list", json!({ "cursor": "2" })).refusal().1, -32602);
}

/// The server asks the client with an id that other servers use too, and answers a request that another server got.
#[test]
fn questions_of_a_server_find_their_way_back() {
    let down = RefusingPort::take();
    let (gateway, key) = gateway(&down);
    let (session, _) = Session::open(&gateway, &key);
    let call = json!({
        "jsonrpc": "2.0", "id": 5, "method": "tools/call",
        "params": { "name": "faulty__ask", "arguments": {} },
    });
    let question = std::thread::scope(|scope| {
        let asking = scope.spawn(|| session.send(&call));
        // The answer to the question is not needed to see its id: the log of the client is its stream.
        let answer = json!({ "jsonrpc": "2.0", "id": "faulty__1", "result": { "roots": [] } });
        std::thread::sleep(std::time::Duration::from_secs(1));
        let answered = session.send(&answer);
        assert_eq!(answered.status, 202, "{answered:?}");
        asking.join().unwrap()
    });
    let messages = question.messages();
    let ids: Vec<_> = messages.iter().map(|message| message["id"].clone()).collect();
    assert_eq!(ids, [json!("faulty__1"), json!(5)], "{messages:?}");
    assert_eq!(question.result()["content"][0]["text"], json!("1"), "it has its answer, under its own id");
}

#[test]
fn the_stateless_era_is_routed_by_name_as_well() {
    let down = RefusingPort::take();
    let (gateway, key) = gateway(&down);
    let ask = |method: &str, params: Value| {
        Request::stateless(&gateway.address(), "/all/mcp", method, params).with("X-API-Key", &key).send()
    };
    let discovered = ask("server/discover", json!({})).refusal();
    assert_eq!(discovered.1, -32601, "one of the servers speaks the stateful era only");
    let echoed = ask("tools/call", json!({ "name": "own__echo", "arguments": { "text": "hi" } }));
    assert_eq!(echoed.result()["content"][0]["text"], json!("hi"), "{echoed:?}");
    let echoed = ask("tools/call", json!({ "name": "faulty__echo", "arguments": {} }));
    assert_eq!(echoed.result()["content"][0]["text"], json!("faulty echo"), "{echoed:?}");
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "own__echo", "arguments": {}, "_meta": witgate_tests::wire::meta() },
    });
    let request = Request::post(&gateway.address(), "/all/mcp", message.to_string());
    let request = request.with("MCP-Protocol-Version", "2026-07-28").with("Mcp-Method", "tools/call");
    let other = request.with("Mcp-Name", "faulty__echo").with("X-API-Key", &key).send();
    assert_eq!(other.status, 400, "the header names another tool: {other:?}");
}
