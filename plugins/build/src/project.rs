//! A plugin's project: `plugin.toml`, and the places of its files.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Error;

/// The file that makes a directory a project.
pub const MANIFEST: &str = "plugin.toml";

/// The interfaces that need a grant, by their names in `plugin.toml` and in the package.
pub(crate) const GRANTED: [&str; 4] = ["crypto", "secrets", "cache", "http"];

/// A language that plugins are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// Rust, with the crate `witgate-plugin`.
    Rust,
    /// Python, by componentize-py.
    Python,
    /// JavaScript, by componentize-js.
    Javascript,
    /// C, by clang.
    C,
}

impl Lang {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rust, Self::Python, Self::Javascript, Self::C];

    /// The name in `plugin.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Javascript => "javascript",
            Self::C => "c",
        }
    }

    /// The default main file. For Rust, cargo finds it.
    pub fn source(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::Python => "app.py",
            Self::Javascript => "plugin.js",
            Self::C => "plugin.c",
        }
    }
}

/// A world of the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum World {
    /// Plugins that establish who a caller is.
    Authenticator,
    /// Plugins that decide what a caller may do.
    Authorizer,
    /// Both.
    Policy,
}

impl World {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Authenticator, Self::Authorizer, Self::Policy];

    /// The name in the package.
    pub fn name(self) -> &'static str {
        match self {
            Self::Authenticator => "authenticator",
            Self::Authorizer => "authorizer",
            Self::Policy => "policy",
        }
    }

    /// The interfaces that a component of this world exports.
    pub fn exports(self) -> &'static [&'static str] {
        match self {
            Self::Authenticator => &["plugin", "authentication"],
            Self::Authorizer => &["plugin", "authorization"],
            Self::Policy => &["plugin", "authentication", "authorization"],
        }
    }
}

/// A project on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The absolute path of the directory.
    pub dir: PathBuf,
    /// The name of the project, and of the component's file.
    pub name: String,
    /// The language of the source.
    pub lang: Lang,
    /// The world of the component.
    pub world: World,
    /// The main file, relative to the directory.
    pub source: PathBuf,
    /// For interpreted languages: the imported interfaces that need a grant.
    pub imports: Vec<String>,
}

/// The content of `plugin.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    lang: Lang,
    world: World,
    source: Option<PathBuf>,
    #[serde(default)]
    imports: Vec<String>,
}

impl Project {
    /// Reads a project.
    ///
    /// # Errors
    /// If there is none, or its `plugin.toml` is invalid. The source may be missing, because not every command
    /// compiles it.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let dir = std::path::absolute(dir).map_err(|error| Error::io(dir, &error))?;
        let file = dir.join(MANIFEST);
        let text = fs::read_to_string(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::Project(format!(
                "{} is no plugin's project: it has no {MANIFEST}; `witgate plugin new NAME` makes a project",
                dir.display()
            )),
            _ => Error::io(&file, &error),
        })?;
        let bad = |what: &str| Error::Manifest(format!("{}: {}", file.display(), what.trim_end()));
        let manifest: Manifest = toml::from_str(&text).map_err(|error| bad(&error.to_string()))?;
        check_name(&manifest.name).map_err(|what| bad(&what))?;
        let source = manifest.source.unwrap_or_else(|| PathBuf::from(manifest.lang.source()));
        if let Some(other) = manifest.imports.iter().find(|name| !GRANTED.contains(&name.as_str())) {
            let names = GRANTED.join("`, `");
            return Err(bad(&format!(
                "`imports` contains `{other}`, but lists only interfaces that need a grant: `{names}`"
            )));
        }
        let Manifest { name, lang, world, imports, .. } = manifest;
        Ok(Self { dir, name, lang, world, source, imports })
    }

    /// The path of the component.
    pub fn component(&self) -> PathBuf {
        self.dir.join(format!("{}.wasm", self.name))
    }

    /// Checks that the source exists.
    ///
    /// # Errors
    /// If it does not.
    pub(crate) fn check_source(&self) -> Result<(), Error> {
        match self.dir.join(&self.source).is_file() {
            true => Ok(()),
            false => Err(Error::Manifest(format!(
                "{}: there is no {}; `source` names the file with the hooks",
                self.dir.join(MANIFEST).display(),
                self.source.display()
            ))),
        }
    }

    /// The project's copy of the WIT package.
    ///
    /// # Errors
    /// If the project has none.
    pub(crate) fn wit(&self) -> Result<PathBuf, Error> {
        let wit = self.dir.join("wit");
        match wit.is_dir() {
            true => Ok(wit),
            false => Err(Error::Project(format!(
                "{} is missing: the project's copy of the WIT package; `witgate plugin new` writes one, copy it from there",
                wit.display()
            ))),
        }
    }
}

/// The rule for a plugin's name, which is used in the names of files and of a crate, and in the log of the host.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    if name.len() > 64 || !name.split('-').all(word) {
        return Err(format!(
            "`{}` is no name for a plugin: take lower-case words of letters and digits with `-` between them, at most 64 \
             characters, such as `office-hours`",
            name.escape_debug()
        ));
    }
    Ok(())
}
