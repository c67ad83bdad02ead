//! A gateway that crashes leaves no core dump, which would contain its secrets, unless the operator wants one.

use std::fs;

use witgate_tests::gateway::Setup;

/// A shell that permits core dumps, in units of 512 bytes: enough to see that there is one.
const PERMITTED: [&str; 4] = ["sh", "-c", "ulimit -S -c 64; exec \"$@\"", "sh"];

/// The names of core dumps in the directory of the gateway, after it was made to crash.
fn dumps(settings: &str) -> Vec<String> {
    let setup = Setup::new().within(&PERMITTED);
    setup.config("", &format!("[upstreams.own]\nown_tools = true\n{settings}\n{POLICIES}"));
    setup.key(&["caller", "--allow", "*"]);
    let mut running = setup.serve();
    running.signal("ABRT");
    assert_eq!(running.wait(), None, "it crashes");
    let entries = fs::read_dir(running.setup().dir()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("core")).collect()
}

const POLICIES: &str = "[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
                        [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n";

#[test]
#[cfg(target_os = "linux")]
fn a_crash_leaves_no_secret_in_a_core_dump() {
    assert_eq!(dumps(""), [""; 0]);
    // Where the system writes core dumps elsewhere, or nowhere, there is nothing to compare with.
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.trim() == "core" {
        assert_eq!(dumps("[secrets]\ncore_dumps = true").len(), 1);
    }
}
