//! Compiled code on disk that was changed. Expected: it is never run; the component is compiled again, and the next
//! start uses that code.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use witgate_tests::gateway::{Running, Setup};
use witgate_tests::wire::Request;

fn cached(dir: &Path) -> Vec<PathBuf> {
    let inner =
        fs::read_dir(dir).unwrap().flatten().flat_map(|dir| fs::read_dir(dir.path()).unwrap().flatten());
    let mut files: Vec<_> = inner.map(|file| file.path()).filter(|path| path.extension().is_some()).collect();
    files.sort();
    files
}

fn call(running: &Running, key: &str) {
    let params = json!({ "name": "echo", "arguments": { "text": "x" } });
    let answer = Request::stateless(&running.address(), "/mcp", "tools/call", params).bearer(key).send();
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn damaged_compiled_code_is_compiled_again_and_never_run() {
    let setup = Setup::new();
    let cache = setup.dir().join("cache");
    let setup = setup.env("WITGATE_CACHE", cache.to_str().unwrap());
    setup.component("api-key");
    setup.component("rbac");
    setup.config(
        "",
        "[upstreams.own]\nown_tools = true\n\
         [policies.keys]\nkind = 'api-key'\ncomponent = 'plugins/api-key.wasm'\nconfig = { store = 'keys.toml' }\n\
         [policies.rules]\nkind = 'rbac'\ncomponent = 'plugins/rbac.wasm'\nconfig = { roles = { user = { allow = ['*'] } } }\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['rules']\n",
    );
    let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
    let mut running = setup.serve();
    call(&running, &key);
    let files = cached(&cache);
    assert_eq!(files.len(), 2, "{files:?}");
    let good: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let zeros = |bytes: &Vec<u8>| {
        let mut bytes = bytes.clone();
        let (quarter, length) = (bytes.len() / 4, bytes.len());
        bytes[quarter..length - quarter].fill(0);
        bytes
    };
    let damages = [
        ("zeros in the middle", good.iter().map(zeros).collect::<Vec<_>>()),
        ("a half", good.iter().map(|bytes| bytes[..bytes.len() / 2].to_vec()).collect()),
        ("each other's code", good.iter().rev().cloned().collect()),
    ];
    for (what, damaged) in damages {
        running.kill();
        for (file, bytes) in files.iter().zip(damaged) {
            fs::write(file, bytes).unwrap();
        }
        running.start_again();
        call(&running, &key);
        assert_eq!(running.log().matches("is damaged").count(), 2, "{what}: {}", running.log());
        running.restart();
        call(&running, &key);
        assert_eq!(running.log().matches("is damaged").count(), 0, "{what}: {}", running.log());
    }
}
