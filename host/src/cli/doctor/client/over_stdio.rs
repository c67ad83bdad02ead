//! An entry that starts Witgate: whether the program and the configuration exist, and the variables are set.

use std::path::{Path, PathBuf};

use super::credential::{EntryText, VARIABLES, absent, judged};
use super::entries::{ClientSettings, EntryCommand, ServerEntry};
use crate::cli::context::Context;
use crate::cli::doctor::finding::CheckFinding;
use crate::cli::init::client::ClientProgram;
use witgate_config::environment::Environment;
use witgate_config::{Config, Transport, resolve};
use witgate_message::credential::Credentials;
use witgate_plugin::Scheme;
use witgate_upstream::child::program;

/// The variables that clients pass on to the servers that they start.
const PASSED_ON: [&str; 8] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TMPDIR", "XDG_RUNTIME_DIR"];

/// True if the program is Witgate.
pub(super) fn starts_witgate(command: &EntryCommand) -> bool {
    Path::new(&command.program).file_stem().is_some_and(|name| name == "witgate")
}

pub(super) async fn examine(
    context: &Context,
    settings: &ClientSettings,
    entry: &ServerEntry,
    command: &EntryCommand,
) -> Vec<CheckFinding> {
    let mut findings: Vec<_> = of_program(entry, command).into_iter().collect();
    if command.arguments.iter().all(|word| word != "serve") {
        findings.push(of_other_command(entry, command));
        return findings;
    }
    let (path, fault) = match configuration(entry, command) {
        Ok(path) => (path, None),
        Err(finding) => (context.config_path(), Some(finding)),
    };
    findings.extend(fault);
    let (environment, unset) = environment(context, command);
    findings.extend(unset.into_iter().map(|name| unset_variable(entry, &name)));
    let Some(path) = path else { return findings };
    match loaded(context, settings, entry, (&path, &environment)) {
        Err(fault) => findings.push(fault),
        Ok(config) => {
            findings.extend(of_transport(&config, entry, command));
            findings.push(of_credential(&config, &environment, entry, command).await);
        }
    }
    findings
}

fn of_program(entry: &ServerEntry, command: &EntryCommand) -> Option<CheckFinding> {
    let (name, program) = (&entry.name, &command.program);
    if program.contains('/') && !Path::new(program).is_absolute() {
        return Some(
            CheckFinding::fail(format!(
                "`{name}` starts `{program}`, which is relative to the directory of the client"
            ))
            .because("clients start programs in another directory")
            .fix("write the full path"),
        );
    }
    let why = program::check(std::slice::from_ref(program)).err()?;
    Some(
        CheckFinding::fail(format!("`{name}`: {why}"))
            .because("the client cannot start Witgate")
            .fix("write the full path of the program (`command -v witgate`)"),
    )
}

/// The finding about `witgate wrap`, which has no configuration, and about other commands.
fn of_other_command(entry: &ServerEntry, command: &EntryCommand) -> CheckFinding {
    let name = &entry.name;
    let is_wrap = command.arguments.iter().any(|word| word == "wrap");
    if !is_wrap {
        return CheckFinding::fail(format!("`{name}` does not start `witgate serve`"))
            .because("the client needs a server over stdio")
            .fix("write `\"args\": [\"serve\", \"--transport\", \"stdio\", \"--config\", \"FILE\"]`");
    }
    match command.env.contains_key("MCP_API_KEY") {
        true => CheckFinding::pass(format!("`{name}` guards a server by `witgate wrap`")),
        false => CheckFinding::fail(format!("`{name}` starts `witgate wrap` without MCP_API_KEY"))
            .because("`wrap` does not start without a key")
            .fix("add `\"env\": { \"MCP_API_KEY\": \"KEY\" }` with 32 characters or more"),
    }
}

/// The configuration that the command names.
fn configuration(entry: &ServerEntry, command: &EntryCommand) -> Result<Option<PathBuf>, CheckFinding> {
    let name = &entry.name;
    let written =
        command.option("--config").or_else(|| command.env.get("WITGATE_CONFIG").map(String::as_str));
    let Some(written) = written else {
        return Err(CheckFinding::fail(format!("`{name}` names no configuration"))
            .because("Witgate looks for `witgate.toml` in the directory in which the client starts it")
            .fix("add `\"--config\"` and the full path to `args`"));
    };
    let path = PathBuf::from(written);
    if !path.is_absolute() {
        return Err(CheckFinding::fail(format!(
            "`{name}` names the configuration `{written}`, a relative path"
        ))
        .because("clients start programs in another directory")
        .fix("write the full path"));
    }
    if !path.is_file() {
        return Err(CheckFinding::fail(format!(
            "`{name}` names the configuration `{written}`, which does not exist"
        ))
        .because("Witgate does not start")
        .fix("correct the path"));
    }
    Ok(Some(path))
}

/// The variables that Witgate gets from the client, and the names of those that the settings need and nobody sets.
fn environment(context: &Context, command: &EntryCommand) -> (Environment, Vec<String>) {
    let passed = PASSED_ON
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), context.environment.get(name)?.to_owned())));
    let (mut variables, mut unset) = (passed.collect::<Vec<_>>(), Vec::new());
    for (name, value) in &command.env {
        match EntryText::of(value, &command.env, &context.environment) {
            EntryText::Known(text) => variables.push((name.clone(), text)),
            // The client has a value when it starts Witgate.
            EntryText::Asked => variables.push((name.clone(), "0".repeat(64))),
            EntryText::Unset(variable) => unset.push(variable),
        }
    }
    (variables.into_iter().collect(), unset)
}

fn unset_variable(entry: &ServerEntry, variable: &str) -> CheckFinding {
    CheckFinding::warn(format!("`{}` needs the variable `{variable}`, which is not set here", entry.name))
        .because("Witgate gets an empty value")
        .fix("set it where the client starts; programs of a desktop do not read the files of shells")
}

/// The configuration, with the variables that Witgate gets from the client.
fn loaded(
    context: &Context,
    settings: &ClientSettings,
    entry: &ServerEntry,
    (path, environment): (&Path, &Environment),
) -> Result<Config, CheckFinding> {
    let name = &entry.name;
    let faults = match resolve::load(Some(path), environment) {
        Ok(loaded) => return Ok(loaded.config),
        Err(faults) => faults,
    };
    let first = faults.iter().find(|fault| fault.is_error()).map(ToString::to_string).unwrap_or_default();
    if resolve::load(Some(path), &context.environment).is_err() {
        return Err(CheckFinding::fail(format!("the configuration of `{name}` is not valid: {first}"))
            .because("Witgate does not start")
            .fix(format!("`witgate check --config {}` shows all faults", path.display())));
    }
    let message = format!("with the variables that `{name}` sets, the configuration is not valid: {first}");
    let why = "a server that a client starts gets only some variables of this shell";
    let finding = match settings.program {
        // These pass all their variables on, which may have this one.
        Some(ClientProgram::Vscode | ClientProgram::Cursor) => CheckFinding::warn(message),
        _ => CheckFinding::fail(message),
    };
    Err(finding
        .because(why)
        .fix("add the variable to `env` of the entry, or name a file by `env_file` under `[server]`"))
}

fn of_transport(config: &Config, entry: &ServerEntry, command: &EntryCommand) -> Option<CheckFinding> {
    let name = &entry.name;
    let is_stdio = match command.option("--transport") {
        Some(transport) => transport == "stdio",
        None => config.server.transport == Transport::Stdio,
    };
    if !is_stdio {
        return Some(
            CheckFinding::fail(format!("`{name}` starts Witgate for HTTP"))
                .because("the client speaks to it over stdin and stdout, and waits for ever")
                .fix("add `\"--transport\", \"stdio\"` to `args`"),
        );
    }
    (config.upstreams.len() > 1).then(|| {
        CheckFinding::fail(format!("the configuration of `{name}` has {} upstreams", config.upstreams.len()))
            .because("over stdio there is one upstream, because there is one stream")
            .fix("name a configuration with one upstream, or call this one by its URLs")
    })
}

async fn of_credential(
    config: &Config,
    environment: &Environment,
    entry: &ServerEntry,
    command: &EntryCommand,
) -> CheckFinding {
    let name = &entry.name;
    let Some(upstream) = config.upstreams.first() else {
        return CheckFinding::skip(format!("the credential of `{name}` was not judged"));
    };
    if VARIABLES.iter().filter_map(|name| command.env.get(*name)).any(|value| value.contains("${input:")) {
        return CheckFinding::skip(format!("the client asks for the credential of `{name}`"));
    }
    let mut shown = Credentials::default();
    let [key, token] = VARIABLES.map(|variable| environment.get(variable).map(str::to_owned));
    token.iter().for_each(|token| shown.add(Scheme::Bearer, None, token.as_str().into()));
    key.iter().for_each(|key| shown.add(Scheme::Header, None, key.as_str().into()));
    match key.or(token) {
        None => absent(config, upstream, name, "add `\"env\": { \"MCP_API_KEY\": \"KEY\" }`"),
        Some(text) => judged((environment, config), &upstream.name, (name, &text), shown).await,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::entries::EntryTarget;
    use super::*;
    use crate::cli::doctor::finding::FindingLevel;
    use crate::cli::key::now;
    use crate::cli::terminal::Terminal;
    use witgate_config::key_store::{KeyStore, NewKey};

    const KEYS: &str = "[upstreams.a]\nown_tools = true\n[pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n\
        [policies.keys]\nkind = 'api-key'\nconfig.store = 'keys.toml'\n";

    /// The findings about an entry that starts Witgate with these arguments and a key. `CONFIG` is the path of the
    /// configuration, and `KEY` a good key.
    async fn found(program: &str, arguments: &[&str], key: Option<&str>) -> Vec<CheckFinding> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witgate.toml");
        std::fs::write(&path, KEYS).unwrap();
        let store = KeyStore::at(folder.path().join("keys.toml"));
        let good = store.create(NewKey { name: "ci".to_owned(), ..NewKey::default() }, now()).unwrap();
        let key = key.map(|key| ("MCP_API_KEY".to_owned(), key.replace("KEY", good.text.reveal())));
        let command = EntryCommand {
            program: program.to_owned(),
            arguments: arguments.iter().map(|word| word.replace("CONFIG", path.to_str().unwrap())).collect(),
            env: key.into_iter().collect::<BTreeMap<_, _>>(),
        };
        let context =
            Context { config: None, environment: Environment::default(), terminal: Terminal::new(false) };
        let settings = ClientSettings { file: "mcp.json".into(), program: None, entries: Vec::new() };
        let entry = ServerEntry { name: "x".to_owned(), line: 1, target: EntryTarget::Unknown };
        let findings = examine(&context, &settings, &entry, &command).await;
        assert!(!format!("{findings:?}").contains(good.text.reveal()), "{findings:?}");
        findings
    }

    const ARGUMENTS: [&str; 5] = ["serve", "--transport", "stdio", "--config", "CONFIG"];

    #[tokio::test]
    async fn an_entry_with_a_good_key_passes() {
        let findings = found("/bin/sh", &ARGUMENTS, Some("KEY")).await;
        assert_eq!(
            findings.iter().map(|one| one.level).collect::<Vec<_>>(),
            [FindingLevel::Pass],
            "{findings:?}"
        );
    }

    #[tokio::test]
    async fn each_fault_of_an_entry_is_told() {
        let cases: [(&str, &[&str], Option<&str>, &str); 7] = [
            ("/nowhere/witgate", &ARGUMENTS, Some("KEY"), "does not exist"),
            ("bin/witgate", &ARGUMENTS, Some("KEY"), "relative to the directory of the client"),
            ("/bin/sh", &["serve", "--config", "CONFIG"], Some("KEY"), "starts Witgate for HTTP"),
            (
                "/bin/sh",
                &["serve", "--transport=stdio", "--config", "w.toml"],
                Some("KEY"),
                "a relative path",
            ),
            ("/bin/sh", &["serve", "--transport", "stdio"], Some("KEY"), "names no configuration"),
            ("/bin/sh", &ARGUMENTS, None, "shows no credential"),
            ("/bin/sh", &ARGUMENTS, Some("wgk_0"), "unknown-key"),
        ];
        for (program, arguments, key, said) in cases {
            let findings = found(program, arguments, key).await;
            let failed = findings.iter().find(|finding| finding.level == FindingLevel::Fail).unwrap();
            assert!(failed.message.contains(said), "{said}: {findings:?}");
        }
    }
}
