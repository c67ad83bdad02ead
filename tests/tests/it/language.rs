//! The language of the project: sentences that say what a thing is.

use std::path::{Path, PathBuf};

use witgate_tests::gateway::workspace;

/// Words that begin a question or a relative clause, where the name of a thing or a verb should stand.
const QUESTIONS: [&str; 6] = ["What", "Whether", "Who", "Whom", "Whose", "How"];

#[test]
fn a_doc_comment_begins_with_what_the_item_is() {
    let mut found = Vec::new();
    for path in files(&["rs", "wit"]) {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut is_inside = false;
        for (number, line) in (1..).zip(text.lines()) {
            let doc = doc(line);
            if let Some(doc) = doc.filter(|_| !is_inside)
                && QUESTIONS.contains(&first_word(doc))
            {
                found.push(format!("{}:{number}: {doc}", shown(&path)));
            }
            is_inside = doc.is_some();
        }
    }
    assert!(found.is_empty(), "say it as a noun or in the imperative:\n{}", found.join("\n"));
}

/// The text of a doc comment's line.
fn doc(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
    (!text.starts_with('/')).then(|| text.trim())
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default()
}

/// All files of the repository with one of these suffixes, without what tools have made or installed.
fn files(suffixes: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![workspace()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if entry.file_type().unwrap().is_dir() {
                if !name.starts_with('.') && name != "target" && name != "node_modules" {
                    directories.push(path);
                }
            } else if suffixes.iter().any(|suffix| path.extension().is_some_and(|own| own == *suffix)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap_or(path).display().to_string()
}
