//! Plugins with one fault each, and the messages for their authors: the texts in `wrong_plugins/*.txt`, by `witgate
//! plugin inspect` and by `witgate check`. `WITGATE_REWRITE=1` writes them anew; read them before you commit them.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;
use witgate_tests::gateway::{Setup, component, workspace};
use witgate_tests::hostile::Guest;

/// A plugin with a fault.
struct Wrong {
    name: &'static str,
    content: Vec<u8>,
    /// The settings of its policy beside the component.
    settings: &'static str,
    /// The list of the pipeline that names it.
    role: &'static str,
}

impl Wrong {
    fn new(name: &'static str, content: impl Into<Vec<u8>>) -> Self {
        Self { name, content: content.into(), settings: "", role: "authorize" }
    }

    fn guest(name: &'static str, guest: Guest) -> Self {
        Self::new(name, fs::read(guest.file()).unwrap())
    }

    fn with(self, settings: &'static str) -> Self {
        Self { settings, ..self }
    }

    /// The report to its author, without the parts that differ in each run.
    fn report(&self) -> String {
        let setup = Setup::new();
        setup.config("", &self.config());
        setup.key(&["user", "--allow", "*"]);
        setup.file("plugins/wrong.wasm", &self.content);
        let dir = setup.dir().canonicalize().unwrap();
        let run = |arguments: &[&str], text: fn(&Output) -> String| {
            let output = setup.run(arguments);
            let text = [dir.to_str().unwrap(), setup.dir().to_str().unwrap()]
                .into_iter()
                .fold(text(&output), |text, dir| text.replace(dir, "DIR"));
            let code = output.status.code().unwrap();
            format!("$ witgate {}\n{}\nexit {code}\n", arguments.join(" "), text.trim_end())
        };
        let inspected = run(&["plugin", "inspect", "plugins/wrong.wasm"], |output| {
            String::from_utf8(output.stderr.clone()).unwrap()
        });
        inspected + "\n" + &run(&["check", "--json"], messages)
    }

    fn config(&self) -> String {
        let (authenticate, authorize) = match self.role {
            "authenticate" => ("\"keys\", \"wrong\"", "\"everybody\""),
            _ => ("\"keys\"", "\"everybody\", \"wrong\""),
        };
        format!(
            "[upstreams.own]\nown_tools = true\n\
             [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
             [policies.everybody]\nkind = \"rbac\"\nconfig = {{ roles = {{ user = {{ allow = [\"*\"] }} }} }}\n\
             [policies.wrong]\nkind = \"custom\"\ncomponent = \"plugins/wrong.wasm\"\n{}\n\
             [pipeline]\nauthenticate = [{authenticate}]\nauthorize = [{authorize}]\n",
            self.settings
        )
    }
}

/// The messages of `witgate check`, which a terminal's width does not break.
fn messages(output: &Output) -> String {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let messages = report["diagnostics"].as_array().unwrap().iter().map(|it| it["message"].as_str().unwrap());
    messages.collect::<Vec<_>>().join("\n")
}

fn all() -> Vec<Wrong> {
    // One of text, which is the same whatever compiles the others.
    let good = fs::read(Guest::Recurses.file()).unwrap();
    let half = good[..good.len() / 2].to_vec();
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    vec![
        // Files.
        Wrong::new("empty", ""),
        Wrong::new("no-wasm", "#!/bin/sh\necho hello\n"),
        Wrong::new("text", "(component)\n"),
        Wrong::new("core-module", *b"\0asm\x01\0\0\0"),
        Wrong::new("truncated", half),
        Wrong::new("damaged", damaged),
        // Worlds and versions.
        Wrong::guest("exports-nothing", Guest::ExportsNothing),
        Wrong::guest("exports-another-world", Guest::ExportsAnotherWorld),
        Wrong::guest("exports-an-older-version", Guest::ExportsOlder),
        Wrong::guest("exports-a-newer-version", Guest::ExportsNewer),
        Wrong::guest("imports-an-older-version", Guest::ImportsOlder),
        Wrong::guest("imports-a-newer-version", Guest::ImportsNewer),
        Wrong::guest("imports-what-nobody-has", Guest::ImportsUnknown),
        Wrong::guest("imports-of-another-type", Guest::ImportsAnotherType),
        Wrong::guest("hook-of-another-type", Guest::HookOfAnotherType),
        Wrong {
            role: "authenticate",
            ..Wrong::new("authorizer-as-authenticator", fs::read(component("tests/faulty")).unwrap())
        },
        // Grants.
        Wrong::guest("cache-is-not-granted", Guest::FloodsCache),
        Wrong::guest("http-is-not-granted", Guest::FloodsHttp),
        Wrong::guest("crypto-is-not-granted", Guest::HashesWithoutEnd),
        Wrong::guest("secrets-are-not-granted", Guest::PeeksAtSecrets),
        // What it says of itself.
        Wrong::guest("bad-name", Guest::DescribesWithEscapes),
        Wrong::guest("describes-too-much", Guest::DescribesTooMuch),
        Wrong::guest("schema-is-no-json", Guest::SchemaIsNoJson),
        Wrong::guest("schema-is-no-schema", Guest::SchemaIsNoSchema),
        Wrong::guest("schema-refers-elsewhere", Guest::SchemaRefersElsewhere),
        Wrong::guest("schema-refers-to-itself", Guest::SchemaRefersToItself),
        Wrong::guest("wants-too-much", Guest::WantsTooMuch),
        Wrong::guest("wants-no-header", Guest::WantsNoHeader),
        // Settings.
        Wrong::new("settings-by-schema", fs::read(component("examples/read-only")).unwrap())
            .with("config = { default = 7 }"),
        Wrong::guest("settings-refused", Guest::RefusesSettings),
        // How it ends.
        Wrong::guest("panics-in-describe", Guest::TrapsInDescribe),
        Wrong::guest("panics-in-configure", Guest::TrapsInConfigure),
        Wrong::guest("traps-at-start", Guest::TrapsAtStart),
        Wrong::guest("loops-in-configure", Guest::LoopsInConfigure),
        Wrong::guest("much-memory-at-the-start", Guest::LargeFromTheStart),
        Wrong::guest("large-table-at-the-start", Guest::LargeTableFromTheStart),
    ]
}

fn directory() -> PathBuf {
    workspace().join("tests/tests/it/wrong_plugins")
}

#[test]
fn each_wrong_plugin_gives_its_author_one_clear_message() {
    let rewrite = std::env::var_os("WITGATE_REWRITE").is_some();
    let all = all();
    let mut findings = Vec::new();
    for wrong in &all {
        let (file, report) = (directory().join(format!("{}.txt", wrong.name)), wrong.report());
        if rewrite {
            fs::create_dir_all(directory()).unwrap();
            fs::write(&file, &report).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if report != expected {
            findings.push(format!("--- {}, expected:\n{expected}\n--- and now:\n{report}", wrong.name));
        }
    }
    for entry in fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !all.iter().any(|wrong| format!("{}.txt", wrong.name) == name) {
            findings.push(format!("{name} belongs to no plugin"));
        }
    }
    assert!(findings.is_empty(), "{} texts are others:\n{}", findings.len(), findings.join("\n"));
}
