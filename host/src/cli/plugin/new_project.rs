//! `witgate plugin new`: makes a project with a first plugin.

use std::path::PathBuf;

use serde_json::json;
use witgate_build::scaffold::{NewProject, scaffold};
use witgate_build::{Lang, World};

use super::project::failure;
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_base::path::absolute;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Name of the plugin and its directory: lower-case words with `-` between them
    name: String,
    /// Kind of plugin: authenticator (establishes who a caller is) or authorizer (decides what they may do)
    #[arg(long, value_enum)]
    kind: PluginKind,
    /// Programming language
    #[arg(long, value_enum)]
    lang: Language,
    /// Parent directory of the project
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PluginKind {
    Authenticator,
    Authorizer,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Language {
    Rust,
    Python,
    Javascript,
    C,
}

impl From<PluginKind> for World {
    fn from(kind: PluginKind) -> Self {
        match kind {
            PluginKind::Authenticator => Self::Authenticator,
            PluginKind::Authorizer => Self::Authorizer,
        }
    }
}

impl From<Language> for Lang {
    fn from(language: Language) -> Self {
        match language {
            Language::Rust => Self::Rust,
            Language::Python => Self::Python,
            Language::Javascript => Self::Javascript,
            Language::C => Self::C,
        }
    }
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<Exit, CommandFailure> {
    let Arguments { name, kind, lang, path } = arguments;
    let project = scaffold(&NewProject { name, world: kind.into(), lang: lang.into(), parent: path.clone() });
    let project = project.map_err(|error| failure(&error))?;
    let dir = path.join(&project.name);
    let terminal = &context.terminal;
    if terminal.is_json() {
        terminal.print_json(&json!({
            "path": absolute(&dir),
            "name": project.name,
            "lang": project.lang.name(),
            "world": project.world.name(),
        }));
        return Ok(Exit::Done);
    }
    let dir = dir.strip_prefix(".").unwrap_or(&dir).display();
    terminal.print(&format!("Created {dir}: {} in {}.", article(project.world), language_name(project.lang)));
    terminal.say(&format!(
        "\nNext:\n  cd {dir}\n  witgate plugin build   compile {source} to {name}.wasm\n  witgate plugin test    run \
         cases.toml against it: one case fails, and README.md says what to change",
        source = project.source.display(),
        name = project.name,
    ));
    Ok(Exit::Done)
}

fn language_name(lang: Lang) -> &'static str {
    match lang {
        Lang::Rust => "Rust",
        Lang::Python => "Python",
        Lang::Javascript => "JavaScript",
        Lang::C => "C",
    }
}

fn article(world: World) -> &'static str {
    match world {
        World::Authenticator => "an authenticator",
        World::Authorizer => "an authorizer",
        World::Policy => "a policy of both hooks",
    }
}
