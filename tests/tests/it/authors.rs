//! The work of a plugin's author: a project is made, built, loaded and changed, and a real gateway decides by it.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use witgate_tests::gateway::{Setup, await_some, unframed, workspace};
use witgate_tests::wire::Request;

/// On a machine where every other test runs too, the default of 50 ms denies calls that no test means to be denied.
const PATIENT: &str = "limits = { memory_mib = 64, timeout_ms = 20000 }";

/// An empty directory, with the tools that `cargo xtask tools` has set up.
fn author() -> Setup {
    let tools = workspace().join("target/tools/plugins");
    Setup::new().env("WITGATE_TOOLS", tools.to_str().unwrap())
}

fn output_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn run(setup: &Setup, arguments: &[&str]) -> Value {
    let output = setup.run(&[arguments, &["--json"]].concat());
    assert!(
        output.status.success(),
        "{arguments:?}: {}{}",
        output_text(&output),
        String::from_utf8_lossy(&output.stdout)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Changes the source as the README says, at the place that it says.
fn change(project: &Path) {
    let readme = fs::read_to_string(project.join("README.md")).unwrap();
    let (_, rest) = readme.split_once("Put this into `").unwrap();
    let (file, rest) = rest.split_once("`, before the line that begins with `").unwrap();
    let (mark, rest) = rest.split_once("`:").unwrap();
    let code = rest.split("```").nth(1).unwrap().split_once('\n').unwrap().1;
    let source = fs::read_to_string(project.join(file)).unwrap();
    let line = source.lines().find(|line| line.trim_start().starts_with(mark)).unwrap();
    fs::write(project.join(file), source.replace(line, &format!("{code}{line}"))).unwrap();
}

fn call(address: &str, tool: &str, header: &str, value: &str) -> u16 {
    let params = json!({ "name": tool, "arguments": { "text": "hello", "a": 2, "b": 3 } });
    Request::stateless(address, "/mcp", "tools/call", params).with(header, value).send().status
}

/// An authorizer is made, decides, is changed as its README says, and its successor decides while the gateway runs.
fn an_authorizer_in(lang: &str) {
    let setup = author();
    run(&setup, &["plugin", "new", "reading", "--kind", "authorizer", "--lang", lang]);
    let built = run(&setup, &["plugin", "build", "reading"]);
    let imports = built["imports"].as_array().unwrap();
    assert!(!imports.iter().any(|name| name.as_str().unwrap().contains("/http@")), "{imports:?}");
    assert_eq!(built["size"], fs::metadata(setup.dir().join("reading/reading.wasm")).unwrap().len());
    setup.config(
        "",
        &format!(
            "[upstreams.own]\nown_tools = true\n[policies.reading]\nkind = \"custom\"\ncomponent = \"reading/reading.wasm\"\n\
             config = {{ prefixes = [\"echo\", \"get_\"] }}\n{PATIENT}\n\
             [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"reading\"]\n"
        ),
    );
    let key = setup.key(&["grace", "--allow", "*", "--role", "admin"]);
    let running = setup.serve();
    let called = |tool: &str| call(&running.address(), tool, "X-API-Key", &key);
    assert_eq!(called("echo"), 200);
    assert_eq!(called("add"), 403);
    running.await_log("prefix-not-allowed");

    change(&running.setup().dir().join("reading"));
    let debug = run(running.setup(), &["plugin", "build", "reading", "--debug"]);
    assert_ne!(debug["digest"], built["digest"]);
    await_some("the changed plugin to decide", || Some(called("add")).filter(|status| *status == 200));
}

/// An authenticator is made and judges tokens.
fn an_authenticator_in(lang: &str) {
    let setup = author().env("DOOR_TOKEN", "tok_0123456789abcdef0123456789abcdef");
    run(&setup, &["plugin", "new", "door", "--kind", "authenticator", "--lang", lang]);
    change(&setup.dir().join("door"));
    run(&setup, &["plugin", "build", "door"]);
    setup.config(
        "",
        &format!(
            "[upstreams.own]\nown_tools = true\n[keys.door]\nsecret = {{ env = \"DOOR_TOKEN\" }}\n\
             [policies.door]\nkind = \"custom\"\ncomponent = \"door/door.wasm\"\n\
             config = {{ header = \"X-Door-Token\", secret = \"door\", subject = \"front-door\" }}\n\
             grants = {{ secrets = [\"door\"], crypto = true }}\n{PATIENT}\n\
             [policies.rules]\nkind = \"rbac\"\nconfig = {{ roles = {{ member = {{ allow = [\"echo\"] }} }} }}\n\
             [pipeline]\nauthenticate = [\"door\"]\nauthorize = [\"rules\"]\n"
        ),
    );
    let running = setup.serve();
    let called = |tool: &str, token: &str| call(&running.address(), tool, "X-Door-Token", token);
    assert_eq!(called("echo", "tok_0123456789abcdef0123456789abcdef"), 200);
    assert_eq!(called("add", "tok_0123456789abcdef0123456789abcdef"), 403);
    assert_eq!(called("echo", "tok_made-up"), 401);
    running.await_log("unknown-token");
    assert_eq!(called("echo", "wgk_of_another_form"), 401);
}

#[test]
fn plugins_in_rust_decide() {
    an_authorizer_in("rust");
    an_authenticator_in("rust");
}

#[test]
fn plugins_in_python_decide() {
    an_authorizer_in("python");
    an_authenticator_in("python");
}

#[test]
fn plugins_in_javascript_decide() {
    an_authorizer_in("javascript");
    an_authenticator_in("javascript");
}

#[test]
fn plugins_in_c_decide() {
    an_authorizer_in("c");
    an_authenticator_in("c");
}

#[test]
fn an_invalid_name_and_an_existing_directory_are_refused() {
    let setup = author();
    let new = |name: &str| setup.run(&["plugin", "new", name, "--kind", "authorizer", "--lang", "c"]);
    for name in ["", "Upper", "two words", "-dash", "a--b", "1st", "../up", "under_score"] {
        assert!(!new(name).status.success(), "{name}");
    }
    let output = new("under_score");
    assert_eq!(output.status.code(), Some(69));
    assert_eq!(
        output_text(&output).trim_end(),
        "witgate: `under_score` is no name for a plugin: take lower-case words of letters and digits with `-` between them, at \
         most 64 characters, such as `office-hours`"
    );
    assert!(new("mine").status.success());
    let output = new("mine");
    assert_eq!(output.status.code(), Some(69));
    assert!(
        output_text(&output).contains("mine exists already and is not overwritten"),
        "{}",
        output_text(&output)
    );
}

#[test]
fn a_directory_without_a_project_is_reported_with_the_command_that_makes_one() {
    let setup = author();
    let output = setup.run(&["plugin", "build"]);
    assert_eq!(output.status.code(), Some(69));
    let text = output_text(&output);
    assert!(text.contains("it has no plugin.toml; `witgate plugin new NAME` makes a project"), "{text}");

    setup.file("plugin.toml", "name = \"a\"\nlang = \"cobol\"\nworld = \"authorizer\"\n");
    let text = unframed(&output_text(&setup.run(&["plugin", "build"])));
    assert!(
        text.contains("unknown variant `cobol`, expected one of `rust`, `python`, `javascript`, `c`"),
        "{text}"
    );
}

#[test]
fn missing_tools_are_reported_with_the_commands_that_install_them() {
    let words = [
        ("rust", "nothing here compiles Rust to WebAssembly", "rustup target add wasm32-unknown-unknown"),
        ("python", "a plugin in Python needs componentize-py", "sudo apt-get install python3-venv"),
        ("javascript", "a plugin in JavaScript needs Node.js 20", "brew install node"),
        ("c", "a plugin in C needs a clang with the target WebAssembly", "brew install llvm lld"),
    ];
    for (lang, what, help) in words {
        let setup = Setup::new();
        run(&setup, &["plugin", "new", "mine", "--kind", "authorizer", "--lang", lang]);
        let tools = setup.dir().join("tools");
        let nowhere = setup.dir().join("nowhere");
        let mut build = setup.command(&["plugin", "build", "mine"]);
        let output = build.env("PATH", nowhere).env("WITGATE_TOOLS", tools).output().unwrap();
        let text = output_text(&output);
        assert_eq!(output.status.code(), Some(69), "{lang}: {text}");
        assert!(text.contains(what) && text.contains(help), "{lang}: {text}");
    }
}

#[test]
fn a_compiler_error_is_shown_with_its_place() {
    let setup = author();
    run(&setup, &["plugin", "new", "mine", "--kind", "authorizer", "--lang", "c"]);
    let source = setup.dir().join("mine/plugin.c");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, text.replace("memcmp(call->target.ptr", "memcmp(call->goal.ptr")).unwrap();
    let output = setup.run(&["plugin", "build", "mine"]);
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    assert!(output_text(&output).contains("plugin.c does not compile"), "{}", output_text(&output));
    assert!(output_text(&output).contains("no member named 'goal'"), "{}", output_text(&output));
    assert!(!setup.dir().join("mine/mine.wasm").exists());
}
