//! New projects, from the embedded templates.

use std::fs;
use std::path::{Path, PathBuf};

use crate::project::check_name;
use crate::templates::{SDK, SDK_LOCK, SDK_MANIFEST, TEMPLATES, WIT, package_version};
use crate::{Error, Lang, Project, World, c};

/// The description of a new project.
#[derive(Clone, Debug)]
pub struct NewProject {
    /// The plugin's name, which is also the name of the directory.
    pub name: String,
    /// The world of the component.
    pub world: World,
    /// The language of the source.
    pub lang: Lang,
    /// The parent directory of the project.
    pub parent: PathBuf,
}

/// Creates a project and returns it.
///
/// # Errors
/// If the name is invalid, or the directory exists already or cannot be written.
pub fn scaffold(new: &NewProject) -> Result<Project, Error> {
    check_name(&new.name).map_err(Error::Project)?;
    let dir = new.parent.join(&new.name);
    if dir.symlink_metadata().is_ok() {
        return Err(Error::Project(format!(
            "{} exists already and is not overwritten; choose another name, or another `--path`",
            dir.display()
        )));
    }
    fs::create_dir_all(&dir).map_err(|error| Error::io(&dir, &error))?;
    let result = files(new)?.into_iter().try_for_each(|(path, content)| write(&dir.join(path), &content));
    result.inspect_err(|_| drop(fs::remove_dir_all(&dir)))?;
    Project::open(&dir)
}

fn write(file: &Path, content: &[u8]) -> Result<(), Error> {
    let parent = file.parent().unwrap_or(file);
    let result = fs::create_dir_all(parent).and_then(|()| fs::write(file, content));
    result.map_err(|error| Error::io(file, &error))
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

/// The embedded files of a directory.
fn below<'a>(
    all: &'a [(&'a str, &'a [u8])],
    directory: &'a str,
) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    all.iter()
        .filter_map(move |(path, content)| Some((path.strip_prefix(directory)?.strip_prefix('/')?, *content)))
}

/// A template's path in the project. Some files have another name among the templates, where their own name would have
/// an effect.
fn target(path: &str) -> &str {
    match path {
        "gitignore" => ".gitignore",
        _ => path.strip_suffix(".in").unwrap_or(path),
    }
}

/// Replaces `{{name}}` and other placeholders with their values.
fn fill(text: &str, new: &NewProject) -> String {
    let (lang, world) = (new.lang.name(), new.world.name());
    let part = |file: &str| {
        let found = TEMPLATES.iter().find(|(path, _)| *path == file);
        found.map(|(_, content)| String::from_utf8_lossy(content).trim_end().to_owned()).unwrap_or_default()
    };
    let values = [
        // These come first, because they contain other placeholders.
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

/// The SDK as a separate crate in the project, and the tested versions of its dependencies.
fn sdk(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = SDK
        .iter()
        .map(|(path, content)| {
            let path = Path::new("sdk/src").join(path);
            // In a project, the WIT package is in the project.
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
