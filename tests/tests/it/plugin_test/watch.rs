//! The option `--watch`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use witgate_tests::gateway::{Setup, await_some, component};

use super::{BAD, GOOD};

struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_change_of_the_cases_or_the_component_runs_them_again() {
    let setup = Setup::new();
    setup.file("mine/plugin.toml", "name = \"mine\"\nlang = \"rust\"\nworld = \"authorizer\"\n");
    let cases = GOOD.replace("builtin = \"rbac\"\n", "");
    setup.file("mine/cases.toml", &cases);
    let mut command = setup.command(&["plugin", "test", "mine", "--watch"]);
    let mut child = Watching(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let output = Arc::<Mutex<String>>::default();
    let streams: [Box<dyn std::io::Read + Send>; 2] =
        [Box::new(child.0.stdout.take().unwrap()), Box::new(child.0.stderr.take().unwrap())];
    for stream in streams {
        let output = Arc::clone(&output);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                output.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
    }
    let await_output = |text: &str| {
        await_some(text, || output.lock().unwrap().contains(text).then_some(()));
        output.lock().unwrap().clear();
    };
    await_output("there is no mine/mine.wasm");
    std::fs::copy(component("rbac"), setup.dir().join("mine/mine.wasm")).unwrap();
    await_output("1 case, 1 passed, 0 failed");
    setup.file("mine/cases.toml", format!("{cases}{BAD}"));
    await_output("2 cases, 1 passed, 1 failed");
    setup.file("mine/cases.toml", "[[case]\n");
    await_output("the cases cannot be used");
    setup.file("mine/cases.toml", &cases);
    await_output("1 case, 1 passed, 0 failed");
}
