//! Components in a process with fewer rights than usual.

use std::process::Command;

use serde_json::json;
use witgate_tests::gateway::{Setup, may};

use crate::caller::Caller;

const CONFIG: &str = "[upstreams.own]\nown_tools = true\n\
    [policies.keys]\nkind = 'api-key'\ncomponent = 'plugins/api-key.wasm'\nconfig = { store = 'keys.toml' }\n\
    [policies.rules]\nkind = 'rbac'\ncomponent = 'plugins/rbac.wasm'\nconfig = { roles = { user = { allow = ['echo'] } } }\n\
    [pipeline]\nauthenticate = ['keys']\nauthorize = ['rules']\n";

fn setup() -> Setup {
    let setup = Setup::new();
    for name in ["api-key", "rbac"] {
        setup.component(name);
    }
    setup.config("", CONFIG);
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn components_decide_with_limited_address_space() {
    for gib in [2, 8] {
        let limited = format!("ulimit -v {}; exec \"$@\"", gib << 20);
        let setup = setup().within(&["sh", "-c", &limited, "sh"]);
        let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
        let running = setup.serve();
        let caller = Caller::new(running.url(), Some(&key));
        for _ in 0..20 {
            assert_eq!(caller.call("echo", json!({ "text": "hi" })).await.status, 200, "{}", running.log());
            assert_eq!(caller.call("add", json!({})).await.reason(), Some("not-allowed"));
        }
        running.await_log("address space is limited here");
    }
}

/// `PR_SET_MDWE`, which systemd's `MemoryDenyWriteExecute=` sets; from Linux 6.3 on.
const DENY_WRITE_EXECUTE: &str = "import ctypes, os, sys\n\
    if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): sys.exit(99)\n\
    os.execv(sys.argv[1], sys.argv[1:])";

#[test]
fn a_ban_on_executable_memory_is_reported() {
    let setup = setup();
    setup.key(&["user"]);
    let check: Command = setup.command(&["check"]);
    let arguments = ["-c".to_owned(), DENY_WRITE_EXECUTE.to_owned()];
    let output = setup.started_by("python3", &arguments, &check).output().unwrap();
    if output.status.code() == Some(99) {
        return eprintln!("this kernel has no PR_SET_MDWE");
    }
    let text = witgate_tests::gateway::unframed(&String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("may not make memory executable") && !output.status.success(), "{text}");
    assert!(text.contains("MemoryDenyWriteExecute"), "{text}");
}

/// As in a container: the configuration is mounted read-only.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_in_a_read_only_directory_is_served() {
    let mount = "mount --bind . . && mount -o remount,ro,bind . && exec \"$@\"";
    let within = ["unshare", "-m", "sh", "-c", mount, "sh"];
    if !may("mounts", &["unshare", "-m", "sh", "-c", "mount --bind /etc/passwd /etc/passwd"]) {
        return;
    }
    let runtime = tempfile::tempdir().unwrap();
    for directory in [None, runtime.path().to_str()] {
        let setup = setup().within(&within).env("XDG_RUNTIME_DIR", directory.unwrap_or_default());
        let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
        let check = setup.command(&["check"]);
        let arguments = within[1..].iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>();
        let checked = setup.started_by(within[0], &arguments, &check).output().unwrap();
        let text = witgate_tests::gateway::unframed(&String::from_utf8_lossy(&checked.stderr));
        assert!(checked.status.success(), "{text}");
        assert_eq!(text.contains("set `server.control`"), directory.is_none(), "{text}");

        let running = setup.serve();
        let caller = Caller::new(running.url(), Some(&key));
        assert_eq!(caller.call("echo", json!({ "text": "hi" })).await.status, 200, "{}", running.log());
        match directory {
            None => {
                running.await_log("no control socket: ");
            }
            Some(_) => assert_eq!(running.plugins()["generation"], 1),
        }
    }
    let other_setup = setup().within(&within);
    other_setup.config("control = \"witgate.sock\"", CONFIG);
    other_setup.key(&["user"]);
    let arguments = within[1..].iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>();
    let checked =
        other_setup.started_by(within[0], &arguments, &other_setup.command(&["check"])).output().unwrap();
    let text = witgate_tests::gateway::unframed(&String::from_utf8_lossy(&checked.stderr));
    assert!(!checked.status.success() && text.contains("the control socket"), "{text}");
}
