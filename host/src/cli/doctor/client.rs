//! `witgate doctor --client`: whether the settings of an MCP client fit this Witgate.

mod credential;
mod entries;
mod over_http;
mod over_stdio;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use futures_util::future::join_all;

use self::entries::{ClientSettings, EntryTarget, ServerEntry};
use super::finding::{CheckFinding, FindingLevel, SettingPlace};
use super::installation::Installation;
use super::report::CheckReport;
use crate::cli::context::Context;
use crate::cli::init::client::ClientProgram;
use crate::cli::outcome::CommandFailure;
use witgate_config::UpstreamTarget;

/// Examines the settings of a client: a file, or the name of a client.
pub(super) async fn examine(context: &Context, client: &str) -> Result<Vec<CheckReport>, CommandFailure> {
    let settings = ClientSettings::read(&file(context, client)?)?;
    let installation = Installation::load(context.config_path().as_deref(), &context.environment, false);
    let (installation, _) = installation.map_err(CommandFailure::Config)?;
    let examined = settings.entries.iter().map(|entry| of_entry(context, &installation, &settings, entry));
    let mut findings: Vec<CheckFinding> = join_all(examined).await.into_iter().flatten().collect();
    findings.extend(of_file(&settings));
    if findings.iter().all(|finding| finding.level == FindingLevel::Skip) {
        findings.push(unconnected(&installation, &settings));
    }
    Ok(vec![CheckReport { check: "client", findings }])
}

/// The file of a client.
fn file(context: &Context, client: &str) -> Result<PathBuf, CommandFailure> {
    let Ok(program) = ClientProgram::from_str(client, true) else { return Ok(PathBuf::from(client)) };
    let home = context.environment.get("HOME").map(Path::new);
    let files = program.files(home);
    files.iter().find(|file| file.is_file()).cloned().ok_or_else(|| {
        let looked = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        CommandFailure::new(format!(
            "{} has no settings here (looked for {looked}); name its file: `witgate doctor --client FILE`",
            program.title()
        ))
    })
}

async fn of_entry(
    context: &Context,
    installation: &Installation,
    settings: &ClientSettings,
    entry: &ServerEntry,
) -> Vec<CheckFinding> {
    let findings = match &entry.target {
        EntryTarget::Command(command) if over_stdio::starts_witgate(command) => {
            over_stdio::examine(context, settings, entry, command).await
        }
        EntryTarget::Command(command) if goes_around(installation, &command.line()) => vec![
            CheckFinding::warn(format!(
                "`{}` starts a server of this configuration without Witgate",
                entry.name
            ))
            .because("its calls are neither authenticated nor recorded")
            .fix("start `witgate serve --transport stdio --config FILE` instead"),
        ],
        EntryTarget::Command(_) => vec![CheckFinding::skip(format!("`{}` is another server", entry.name))],
        EntryTarget::Url(url) => over_http::examine(installation, settings, entry, url).await,
        EntryTarget::Unknown => vec![
            CheckFinding::warn(format!("`{}` has neither `command` nor `url`", entry.name))
                .because("the client cannot start or call it")
                .fix("write one of them; `witgate init --client` prints an entry"),
        ],
    };
    let place = SettingPlace { file: settings.file.display().to_string(), line: entry.line };
    let placed = |finding: CheckFinding| match finding.fix.is_some() && finding.place.is_none() {
        true => finding.at(Some(place.clone())),
        false => finding,
    };
    findings.into_iter().map(placed).collect()
}

/// True if the words are the command of an upstream.
fn goes_around(installation: &Installation, words: &[&str]) -> bool {
    installation.config.upstreams.iter().any(|upstream| match &upstream.target {
        UpstreamTarget::Command { argv, .. } => argv.iter().map(String::as_str).eq(words.iter().copied()),
        _ => false,
    })
}

/// The finding about a file with a credential that others may read.
fn of_file(settings: &ClientSettings) -> Option<CheckFinding> {
    let mode = settings.file.metadata().ok()?.mode() & 0o777;
    let shown = settings.file.display();
    (mode & 0o077 != 0 && settings.entries.iter().any(credential::is_written)).then(|| {
        CheckFinding::warn(format!("others may read {shown} (mode {mode:03o}), which contains a credential"))
            .because("whoever reads it can call as this client")
            .fix(format!("`chmod 600 {shown}`, and keep it out of version control"))
    })
}

fn unconnected(installation: &Installation, settings: &ClientSettings) -> CheckFinding {
    let urls = over_http::urls(installation).join(" or ");
    CheckFinding::fail(format!("no server in {} is this Witgate", settings.file.display()))
        .because("the client does not call it")
        .fix(format!(
            "add an entry with the URL {urls}, or one that starts it; `witgate init` prints such an entry"
        ))
}

#[cfg(test)]
mod tests {
    use super::super::installation::tests::{OPEN, installed};
    use super::*;
    use crate::cli::terminal::Terminal;

    /// The levels and messages of the findings about these settings, for a Witgate with own tools.
    async fn examined(settings: &str) -> Vec<(FindingLevel, String)> {
        let (folder, installation) =
            installed(&format!("[upstreams.a]\ncommand = ['npx', '-y', 'some-server']\n{OPEN}"));
        let file = folder.path().join("mcp.json");
        std::fs::write(&file, settings).unwrap();
        let context = Context {
            config: Some(folder.path().join("witgate.toml")),
            environment: installation.environment.clone(),
            terminal: Terminal::new(false),
        };
        let reports = examine(&context, file.to_str().unwrap()).await.unwrap();
        let findings = reports.into_iter().flat_map(|report| report.findings);
        findings.map(|finding| (finding.level, finding.message)).collect()
    }

    #[tokio::test]
    async fn a_client_with_the_url_of_the_endpoint_fits() {
        let found = examined(
            "{ // of a project\n \"servers\": { \"a\": { \"type\": \"http\", \"url\": \"http://127.0.0.1:8787/mcp\" }, } }",
        );
        let found = found.await;
        assert!(
            found.iter().all(|(level, _)| *level == FindingLevel::Pass) && !found.is_empty(),
            "{found:?}"
        );
    }

    #[tokio::test]
    async fn a_client_without_an_entry_for_this_witgate_fails() {
        let found = examined(r#"{ "mcpServers": { "x": { "command": "other-server" } } }"#).await;
        assert_eq!(found[0].0, FindingLevel::Skip);
        assert!(found[1].1.contains("no server in"), "{found:?}");
    }

    #[tokio::test]
    async fn a_client_that_starts_the_server_itself_is_a_warning() {
        let entry = r#"{ "mcpServers": { "x": { "command": "npx", "args": ["-y", "some-server"] } } }"#;
        let found = examined(entry).await;
        assert_eq!(found[0].0, FindingLevel::Warn);
        assert!(found[0].1.contains("without Witgate"), "{found:?}");
    }
}
