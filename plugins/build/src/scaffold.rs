//! New projects, from the templates that are embedded.

use std::fs;
use std::path::{Path, PathBuf};

use crate::project::check_name;
use crate::templates::{SDK, SDK_LOCK, SDK_MANIFEST, TEMPLATES, WIT, package_version};
use crate::{Error, Lang, Project, World, c};

/// A project that is to be made.
#[derive(Clone, Debug)]
pub struct NewProject {
    /// The plugin's name, which the directory gets.
    pub name: String,
    /// The world of the component.
    pub world: World,
    /// The language of the source.
    pub lang: Lang,
    /// The parent directory of the project.
    pub parent: PathBuf,
}

/// Makes a project and returns it.
///
/// # Errors
/// Where the name is none, the directory is there already, or cannot be written.
pub fn scaffold(new: &NewProject) -> Result<Project, Error> {
    check_name(&new.name).map_err(Error::Project)?;
    let dir = new.parent.join(&new.name);
    if dir.symlink_metadata().is_ok() {
        return Err(Error::Project(format!(
            "{} is there already, and nothing is written over: take another name, or another `--path`",
            dir.display()
        )));
    }
    fs::create_dir_all(&dir).map_err(|error| Error::io(&dir, &error))?;
    let written = files(new)?.into_iter().try_for_each(|(path, content)| write(&dir.join(path), &content));
    written.inspect_err(|_| drop(fs::remove_dir_all(&dir)))?;
    Project::open(&dir)
}

fn write(file: &Path, content: &[u8]) -> Result<(), Error> {
    let parent = file.parent().unwrap_or(file);
    let written = fs::create_dir_all(parent).and_then(|()| fs::write(file, content));
    written.map_err(|error| Error::io(file, &error))
}

/// Every file of a project: its path and its content.
fn files(new: &NewProject) -> Result<Vec<(PathBuf, Vec<u8>)>, Error> {
    let (lang, world) = (new.lang.name(), new.world.name());
    let sources = ["all".to_owned(), world.to_owned(), format!("{lang}/all"), format!("{lang}/{world}")];
    let mut files = Vec::new();
    for source in sources {
        files.extend(below(TEMPLATES, &source).map(|(path, content)| {
            let content = String::from_utf8_lossy(content);
            (PathBuf::from(target(path)), fill(&content, new).into_bytes())
        }));
    }
    let wit = WIT.iter().filter(|(path, _)| path.ends_with(".wit"));
    files.extend(wit.map(|(path, content)| (Path::new("wit").join(path), content.to_vec())));
    match new.lang {
        Lang::Rust => files.extend(sdk(&new.name)),
        Lang::C => files.extend(c::bindings_of(new.world)?),
        Lang::Python | Lang::Javascript => {}
    }
    Ok(files)
}

/// The files of a directory among those that are embedded.
fn below<'a>(
    all: &'a [(&'a str, &'a [u8])],
    directory: &'a str,
) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    all.iter()
        .filter_map(move |(path, content)| Some((path.strip_prefix(directory)?.strip_prefix('/')?, *content)))
}

/// A template's path in the project: some names would mean something where the templates are.
fn target(path: &str) -> &str {
    match path {
        "gitignore" => ".gitignore",
        _ => path.strip_suffix(".in").unwrap_or(path),
    }
}

/// Puts values in the place of `{{name}}` and the like.
fn fill(text: &str, new: &NewProject) -> String {
    let (lang, world) = (new.lang.name(), new.world.name());
    let part = |file: &str| {
        let found = TEMPLATES.iter().find(|(path, _)| *path == file);
        found.map(|(_, content)| String::from_utf8_lossy(content).trim_end().to_owned()).unwrap_or_default()
    };
    let values = [
        // These first: they have names in them.
        ("{{language}}", part(&format!("{lang}/language.md"))),
        ("{{change}}", part(&format!("{lang}/{world}.change.md"))),
        ("{{limits}}", part(&format!("{lang}/limits.toml"))),
        ("{{name}}", new.name.clone()),
        ("{{Name}}", camel(&new.name)),
        ("{{lang}}", lang.to_owned()),
        ("{{world}}", world.to_owned()),
        ("{{source}}", new.lang.source().to_owned()),
        ("{{imports}}", part(&format!("{lang}/{world}.imports.toml"))),
        ("{{package}}", package_version().to_owned()),
    ];
    values.iter().fold(text.to_owned(), |text, (mark, value)| text.replace(mark, value))
}

fn camel(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    name.split('-').filter_map(word).collect()
}

/// The SDK as a crate that stands alone beside the project, and the versions that it was tested with.
fn sdk(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = SDK
        .iter()
        .map(|(path, content)| {
            let path = Path::new("sdk/src").join(path);
            // Here the WIT package is the project's.
            let text = std::str::from_utf8(content).ok().filter(|_| path.extension() == Some("rs".as_ref()));
            let content = text.map(|text| text.replace("path: \"wit\"", "path: \"../wit\"").into_bytes());
            (path, content)
        })
        .zip(SDK)
        .map(|((path, changed), (_, content))| (path, changed.unwrap_or_else(|| content.to_vec())))
        .collect();
    let lock = format!(
        "{SDK_LOCK}\n[[package]]\nname = {name:?}\nversion = \"0.1.0\"\ndependencies = [\"schemars\", \"serde\", \
         \"witgate-plugin\"]\n"
    );
    files.push((PathBuf::from("sdk/Cargo.toml"), SDK_MANIFEST.into()));
    files.push((PathBuf::from("Cargo.lock"), lock.into()));
    files
}
