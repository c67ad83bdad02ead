//! Bad input: each message names the fault, its place and the remedy, and no command leaves half of its work behind.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::mpsc;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use witgate_tests::gateway::{PATIENCE, Setup, free_port, unframed};

const REST: &str = "[upstreams.own]\nown_tools = true\n\
                    [policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
                    [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n";

/// Runs a command that must end by itself.
fn ends(setup: &Setup, arguments: &[&str]) -> Output {
    let mut command = setup.command(arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let (sender, ended) = mpsc::channel();
    // The output may be more than a pipe holds.
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    ended.recv_timeout(PATIENCE).map_or_else(
        |_| {
            kill_process(pid, Signal::KILL).unwrap();
            panic!("{arguments:?} does not end: {:?}", ended.recv());
        },
        Result::unwrap,
    )
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Every file of a directory with its content and inode, to show that a command has changed nothing.
fn files(folder: &Path) -> Vec<(String, u64, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let read = |entry: std::fs::DirEntry| {
        let content = std::fs::read(entry.path()).unwrap_or_default();
        (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().ino(), content)
    };
    let mut all: Vec<_> = entries.map(read).collect();
    all.sort();
    all
}

#[test]
fn check_reports_all_faults_at_once() {
    let setup = Setup::new();
    let lines = [
        "[server]",
        "listen = 8787",
        "transprot = 'http'",
        "deny_peers = ['192.0.2.0/33']",
        "[upstreams.a]",
        "command = ['no-such-npx', '-y', 'server']",
        "path = '/x/mcp'",
        "[upstreams.b]",
        "url = 'http://127.0.0.1:1/mcp'",
        "path = '/x/mcp'",
        "headers = { Authorization = { env = 'NOT_SET_HERE' } }",
        "[policies.keys]",
        "kind = 'api-key'",
        "config = { store = 'keys.toml' }",
        "[policies.roles]",
        "kind = 'rbac'",
        "component = 'plugins/absent.wasm'",
        "config = { roles = {} }",
        "[policies.tokens]",
        "kind = 'jwt'",
        "config = { keys = ['absent'], algorithms = ['none'] }",
        "[pipeline]",
        "authenticate = []",
        "authorize = ['rolls']",
        "[limits.calls]",
        "rate = '0/min'",
        "[limits.lists]",
        "rate = '10/fortnight'",
        "on = ['resource:FILE:///x/*']",
        "[limits.tools]",
        "rate = '1/min'",
        "brust = 3",
        "[lockout]",
        "failures = 0",
        "[audit]",
        "directory = 'witgate.toml'",
        "sync = 'always'",
        "[telemetry]",
        "otlp_endpoint = 'collector'",
        "sample = 2.0",
        // Two of one name hide no other fault.
        "[limits.tools]",
        "rate = '5/min'",
    ];
    setup.file("witgate.toml", lines.join("\n"));
    let expected = [
        (2, "server.listen", "127.0.0.1:8787"),
        (3, "transprot", "transport"),
        (4, "192.0.2.0/33", "10.0.0.0/8"),
        (6, "no-such-npx", "install it"),
        (10, "/x/mcp", "another `path`"),
        (11, "NOT_SET_HERE", "set `NOT_SET_HERE`"),
        (14, "keys.toml", "witgate key create"),
        (17, "absent.wasm", "build it"),
        (21, "absent", "define it"),
        (21, "none", "HS256"),
        (23, "authenticate", "at least one"),
        (24, "rolls", "did you mean `roles`"),
        (26, "`0/min` permits no call", "write at least 1"),
        (28, "`fortnight`", "`100/min`"),
        (29, "resource:FILE", "write patterns"),
        (32, "brust", "did you mean `burst`"),
        (34, "lockout.failures", "from 1 to"),
        (36, "is not a directory", "for the audit log alone"),
        (37, "audit.sync", "before-answer"),
        (39, "`collector` is not a URL", "http://127.0.0.1:4318"),
        (40, "2 is not a share", "from 0 to 1"),
        (41, "duplicate key", ""),
        (42, "duplicate key", ""),
    ];
    let output = ends(&setup, &["check", "--json"]);
    assert_eq!(code(&output), 1);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let errors: Vec<_> = report["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|fault| fault["severity"] == "error")
        .collect();
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (fault, (line, names, help)) in errors.iter().zip(expected) {
        assert_eq!((&fault["line"], &fault["file"]), (&json!(line), &json!("witgate.toml")), "{fault}");
        assert!(fault["message"].as_str().unwrap().contains(names), "{names}: {fault}");
        assert!(fault["help"].as_str().unwrap_or_default().contains(help), "{help}: {fault}");
        assert!(fault["column"].as_u64().unwrap() >= 1, "{fault}");
    }
    // The same faults in the text for people, and from `serve`, which does not start.
    let before = files(setup.dir());
    for (arguments, exit) in [(["check"], 1), (["serve"], 78)] {
        let output = ends(&setup, &arguments);
        assert_eq!(code(&output), exit);
        for (line, names, _) in expected {
            let text = stderr(&output);
            assert!(
                text.contains(&format!("witgate.toml:{line}:")) && text.contains(names),
                "{names}: {text}"
            );
        }
        assert!(!stderr(&output).contains("panicked"));
    }
    assert_eq!(files(setup.dir()), before);
}

/// One fault each: (name, configuration, line, message).
#[test]
fn each_fault_has_its_line_and_serve_exits_with_78() {
    let setup = Setup::new();
    setup.key(&["a", "--allow", "*", "--store", "keys.toml"]);
    setup.file("empty", "\n");
    let with = |text: &str| format!("{text}\n{REST}");
    let empty_authorize = REST.replace("authorize = ['keys']", "authorize = []");
    let by_roles =
        |text: &str| format!("{text}\n{}", REST.replace("authorize = ['keys']", "authorize = ['x']"));
    let shadow = REST.replace("kind = 'api-key'", "kind = 'api-key'\nmode = 'shadow'");
    let cases = [
        ("not TOML", "[server\n".to_owned(), 1, "not TOML"),
        ("a key twice", with("[server]\nlisten = '127.0.0.1:1'\nlisten = '127.0.0.1:2'"), 3, "duplicate key"),
        ("unknown section", with("[sever]\na = 1"), 1, "did you mean `server`"),
        (
            "unknown policy setting",
            with("[policies.x]\nkind = 'api-key'\nconfig = { stoer = 'keys.toml' }"),
            3,
            "store",
        ),
        ("unknown kind", with("[policies.x]\nkind = 'apikey'"), 2, "api-key"),
        ("a secret in plain", with("[keys.k]\nsecret = 'abc'"), 2, "env"),
        ("an empty secret", with("[keys.k]\nsecret = { file = 'empty' }"), 2, "empty"),
        ("no secret file", with("[keys.k]\nsecret = { file = 'absent' }"), 2, "absent"),
        ("an empty variable", with("[keys.k]\nsecret = { env = 'EMPTY' }"), 2, "EMPTY"),
        ("a digest that is none", with("[policies.x]\nkind = 'rbac'\ndigest = 'sha256:00'"), 3, "sha256"),
        (
            "a pattern that matches nothing",
            by_roles(
                "[policies.x]\nkind = 'rbac'\n[policies.x.config.roles]\na = { deny = ['resource:FILE:///docs/*'] }",
            ),
            4,
            "matches nothing",
        ),
        ("an empty pipeline", empty_authorize, 8, "authorize"),
        ("shadows only", shadow, 8, "shadow"),
        ("the metrics for all", with("[server]\nadmin_listen = '127.0.0.1:8787'"), 2, "admin_listen"),
        ("any origin", with("[server]\nallowed_origins = ['*']"), 2, "not an origin"),
    ];
    let setup = setup.env("EMPTY", "");
    let before = files(setup.dir()).len();
    for (what, config, line, message) in &cases {
        setup.file("witgate.toml", config);
        let output = ends(&setup, &["check"]);
        assert_eq!(code(&output), 1, "{what}: {}", stderr(&output));
        let output = ends(&setup, &["serve"]);
        let text = stderr(&output);
        assert_eq!(code(&output), 78, "{what}: {text}");
        assert!(text.contains(&format!("witgate.toml:{line}:")), "{what}, line {line}: {text}");
        assert!(text.contains(message), "{what}, {message}: {text}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(files(setup.dir()).len(), before + 1, "nothing but the configuration");
    // No configuration where one is named, and one that cannot be read.
    for name in ["absent.toml", "."] {
        let output = ends(&setup, &["serve", "--config", name]);
        assert_eq!(code(&output), 78, "{}", stderr(&output));
        assert!(stderr(&output).contains(name));
    }
    setup.file("witgate.toml", b"# \xff\n");
    let output = ends(&setup, &["serve"]);
    assert!(code(&output) == 78 && stderr(&output).contains("UTF-8"), "{}", stderr(&output));
    // Settings that would disable a check by mistake.
    setup.file("witgate.toml", REST);
    let setup = setup.env("MCP_AUTH_ENABLED", "false");
    let output = ends(&setup, &["serve"]);
    assert!(code(&output) == 78 && stderr(&output).contains("MCP_AUTH_ENABLED"), "{}", stderr(&output));
}

/// An error that only shows at the start gives one line and exit code 64 or up, and leaves nothing behind.
#[test]
fn a_failed_start_is_explained_and_leaves_nothing_behind() {
    let setup = Setup::new();
    setup.key(&["a", "--allow", "*", "--store", "keys.toml"]);
    let (public, admin) = (free_port(), free_port());
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = holder.local_addr().unwrap().port();
    let config = |listen: u16, admin: u16, rest: &str| {
        format!("[server]\nlisten = '127.0.0.1:{listen}'\nadmin_listen = '127.0.0.1:{admin}'\n{rest}{REST}")
    };
    let store = std::fs::read(setup.dir().join("keys.toml")).unwrap();
    let half = &store[..store.len() - 30];
    let cases: Vec<(&str, String, &[u8], Vec<String>)> = vec![
        (
            "a port in use",
            config(busy, admin, ""),
            &store,
            vec![busy.to_string(), "server.listen".to_owned(), "another port".to_owned()],
        ),
        (
            "the admin port in use",
            config(public, busy, ""),
            &store,
            vec![busy.to_string(), "server.admin_listen".to_owned(), "another port".to_owned()],
        ),
        (
            "a control socket that is none",
            config(public, admin, "control = 'keys.toml'\n"),
            &store,
            vec!["not a socket".to_owned(), "server.control".to_owned()],
        ),
        (
            "half a key store",
            config(public, admin, ""),
            half,
            vec!["keys.toml".to_owned(), "line ".to_owned(), "correct that place".to_owned()],
        ),
        (
            "a key store of the future",
            config(public, admin, ""),
            b"version = 2\n",
            vec!["keys.toml".to_owned(), "version 2".to_owned()],
        ),
        (
            "a key store that is no text",
            config(public, admin, ""),
            b"\xff\xfe\x00",
            vec!["keys.toml".to_owned(), "UTF-8".to_owned()],
        ),
        (
            "an empty key store",
            config(public, admin, ""),
            b"",
            vec!["keys.toml".to_owned(), "version".to_owned()],
        ),
    ];
    for (what, config, keys, messages) in &cases {
        setup.file("witgate.toml", config);
        setup.file("keys.toml", keys);
        let before = files(setup.dir());
        let output = ends(&setup, &["serve"]);
        let text = stderr(&output);
        assert!(code(&output) >= 64 && code(&output) != 101, "{what}: {text}");
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("witgate: ")).collect();
        assert_eq!(lines.len(), 1, "{what}: {text}");
        assert_eq!(text.trim_end().lines().last(), Some(lines[0]), "{what}: {text}");
        for message in messages {
            assert!(unframed(&text).contains(message), "{what}, {message}: {text}");
        }
        assert!(!text.contains("serving"), "{what}: {text}");
        assert_eq!(files(setup.dir()), before, "{what}");
        for port in [public, admin] {
            assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "{what}: {port}");
        }
    }
    // If the store is a directory, the message does not advise making the first key.
    std::fs::remove_file(setup.dir().join("keys.toml")).unwrap();
    std::fs::create_dir(setup.dir().join("keys.toml")).unwrap();
    setup.file("witgate.toml", config(public, admin, ""));
    let output = ends(&setup, &["serve"]);
    let text = stderr(&output);
    assert!(code(&output) == 78 && text.contains("keys.toml` is not a file"), "{text}");
}

#[test]
fn a_damaged_key_store_stays_as_it_is() {
    let setup = Setup::new();
    let key = setup.key(&["a", "--allow", "*", "--store", "keys.toml"]);
    let good = std::fs::read(setup.dir().join("keys.toml")).unwrap();
    assert!(!String::from_utf8_lossy(&good).contains(&key));
    let twice = [&good[..], &good[..]].concat();
    let damaged: [&[u8]; 7] = [
        b"garbage [",
        b"version = 2\n",
        b"",
        b"\xff\xfe",
        &good[..good.len() / 2],
        &twice,
        b"version = 1\nkyes = []\n",
    ];
    for content in damaged {
        setup.file("keys.toml", content);
        let before = files(setup.dir());
        for arguments in [
            &["key", "create", "b", "--allow", "*"][..],
            &["key", "revoke", "a"],
            &["key", "rotate", "a"],
            &["key", "list"],
        ] {
            let output = ends(&setup, &[arguments, &["--store", "keys.toml"]].concat());
            assert_eq!(code(&output), 69, "{arguments:?}: {}", stderr(&output));
            let text = stderr(&output);
            assert!(text.lines().count() == 1 && text.contains("keys.toml"), "{text}");
            assert!(text.contains("nothing was written") || text.contains("unchanged"), "{text}");
            assert!(output.stdout.is_empty(), "no key is shown that is in no store");
        }
        assert_eq!(files(setup.dir()), before);
    }
    // A failed write leaves nothing half written: a directory at the path, a dangling link, a file where the directory
    // would be.
    std::fs::remove_file(setup.dir().join("keys.toml")).unwrap();
    std::fs::create_dir(setup.dir().join("keys.toml")).unwrap();
    symlink("/nowhere/at/all/keys.toml", setup.dir().join("link.toml")).unwrap();
    setup.file("file", "");
    for store in ["keys.toml", "link.toml", "file/keys.toml", "no/such/folder/keys.toml"] {
        let output = ends(&setup, &["key", "create", "b", "--allow", "*", "--store", store]);
        assert_eq!(code(&output), 69, "{store}: {}", stderr(&output));
        assert!(output.stdout.is_empty() && stderr(&output).lines().count() == 1, "{}", stderr(&output));
    }
}

#[test]
fn keys_created_at_the_same_time_are_all_kept() {
    const PROCESSES: usize = 20;
    let setup = Setup::new();
    let start = |n: usize| {
        let name = format!("key-{n}");
        let mut command =
            setup.command(&["key", "create", &name, "--allow", "*", "--store", "keys.toml", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..PROCESSES).map(start).collect();
    let mut texts: Vec<String> = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        texts.push(document["key"].as_str().unwrap().to_owned());
    }
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), PROCESSES);
    let list = ends(&setup, &["key", "list", "--store", "keys.toml", "--json"]);
    let list = String::from_utf8(list.stdout).unwrap();
    for n in 0..PROCESSES {
        assert!(list.contains(&format!("\"key-{n}\"")), "key-{n} is lost: {list}");
    }
    assert!(!texts.iter().any(|text| list.contains(text)));
    let mode = std::fs::metadata(setup.dir().join("keys.toml")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!setup.dir().join(".keys.toml.new").exists());
    // Several commands at once with the same name make one key.
    let same: Vec<_> = (0..6).map(|_| start(1000)).collect();
    let exit_codes = same.into_iter().filter_map(|child| child.wait_with_output().unwrap().status.code());
    let mut codes: Vec<_> = exit_codes.collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 69, 69, 69, 69, 69]);
}

#[test]
fn commands_have_their_exit_codes_and_usage() {
    let setup = Setup::new();
    for (arguments, expected) in [
        (&[][..], 0),
        (&["--help"], 0),
        (&["--version"], 0),
        (&["config", "schema"], 0),
        (&["bogus"], 2),
        (&["serve", "--no-such-flag"], 2),
        (&["serve", "--transport", "carrier-pigeon"], 2),
        (&["key"], 2),
        (&["key", "create"], 2),
        (&["key", "create", "a", "--expires", "soon"], 2),
        (&["key", "create", "a", "--policy", "x", "--store", "y"], 2),
        (&["check", "--config"], 2),
        (&["plugin", "list"], 69),
        (&["key", "list", "--store", "absent.toml"], 69),
        (&["check", "--config", "absent.toml"], 1),
        (&["serve", "--config", "absent.toml"], 78),
        (&["plugin", "inspect", "absent.wasm"], 69),
    ] {
        let output = ends(&setup, arguments);
        assert_eq!(code(&output), expected, "{arguments:?}: {}", stderr(&output));
        assert!(!output.stderr.is_empty() || !output.stdout.is_empty(), "{arguments:?} says something");
        assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    }
    assert!(files(setup.dir()).is_empty(), "{:?}", files(setup.dir()));
}
