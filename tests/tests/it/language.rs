//! The language of the project: sentences that say what a thing is.

use std::path::{Path, PathBuf};

use witgate_tests::gateway::workspace;

/// Words that begin a question or a relative clause, where the name of a thing or a verb should stand.
const QUESTIONS: [&str; 13] = [
    "What", "Whatever", "When", "Where", "Wherever", "Whether", "Which", "Who", "Whoever", "Whom", "Whose",
    "Why", "How",
];

#[test]
fn a_doc_comment_begins_with_a_noun() {
    let mut found = Vec::new();
    for path in files(&["rs", "wit"]) {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut is_inside = false;
        for (number, line) in (1..).zip(text.lines()) {
            let doc = doc(line);
            if let Some(doc) = doc.filter(|_| !is_inside)
                && QUESTIONS.contains(&first_word(doc))
            {
                found.push(format!("{}:{number}: {doc}", relative_path(&path)));
            }
            is_inside = doc.is_some();
        }
    }
    assert!(found.is_empty(), "say it as a noun or in the imperative:\n{}", found.join("\n"));
}

/// Phrases that are translated thought, or the house's private words, each with plain ones.
const BANNED: [(&str, &str); 42] = [
    ("he", "they, or the noun"),
    ("him", "them, or the noun"),
    ("himself", "themselves, or the noun"),
    ("his", "their, or the noun"),
    ("became of", "the result of, the end of"),
    ("become of", "the result of, the end of"),
    ("becomes of", "the result of, the end of"),
    ("beside others", "among others, together with others"),
    ("beside the others", "among the others, together with the others"),
    ("came to", "gave, was"),
    ("clock on the wall", "wall-clock time"),
    ("cannot be so", "is invalid"),
    ("come to", "is, gives"),
    ("comes to", "is, gives"),
    ("goes by", "uses"),
    ("gone back to", "the target of the rollback"),
    ("held against", "compared with, checked against"),
    ("hold it against", "compare it with, check it against"),
    ("hold that against", "compare that with, check that against"),
    ("hold them against", "compare them with, check them against"),
    ("holds it against", "compares it with, checks it against"),
    ("holds that against", "compares that with, checks that against"),
    ("holds them against", "compares them with, checks them against"),
    ("is not what it has to be", "is invalid"),
    ("lets go wrong", "injects failures"),
    ("mean harm", "are malicious"),
    ("means harm", "is malicious"),
    ("nobody's surprise", "say it without irony"),
    ("what is not told", "redacted, left out"),
    ("on stage", "in a sandbox"),
    ("one's own", "custom, or the noun"),
    ("out of bounds:", "invalid"),
    ("put to", "run against, tried on"),
    ("puts to", "runs against, tries on"),
    ("stand in", "be in, replace, prevent"),
    ("stands in", "is in, replaces, prevents"),
    ("stood in", "was in, decided in place of"),
    ("thrown away", "discarded"),
    ("who asks", "the client, the caller"),
    ("will do", "is enough"),
    ("written to hurt", "malicious"),
    ("puts them to", "runs them against"),
];

#[test]
fn phrases_are_plain() {
    let mut found = Vec::new();
    for path in files(&["rs", "wit", "md", "toml"]) {
        // The list itself.
        if path.ends_with("it/language.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap().to_lowercase();
        let mut before = "";
        for (number, line) in (1..).zip(text.lines().map(unmarked)) {
            let joined = format!("{before} {line}");
            let is_new = |phrase: &str| has_phrase(&joined, phrase) && !has_phrase(before, phrase);
            for (phrase, plain) in BANNED.iter().filter(|(phrase, _)| is_new(phrase)) {
                found.push(format!("{}:{number}: \"{phrase}\": {plain}", relative_path(&path)));
            }
            before = line;
        }
    }
    assert!(found.is_empty(), "say it in plain words:\n{}", found.join("\n"));
}

/// The widest line of a wrapped paragraph in Markdown. A paragraph on one line may have any length.
const COLUMNS: usize = 120;

#[test]
fn markdown_is_wrapped_at_120_columns_or_not_at_all() {
    let mut found = Vec::new();
    for path in files(&["md"]) {
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in wrapped(&text).filter(|(_, line)| line.chars().count() > COLUMNS) {
            found.push(format!("{}:{number}: {} columns", relative_path(&path), line.chars().count()));
        }
    }
    assert!(found.is_empty(), "wrap these paragraphs anew:\n{}", found.join("\n"));
}

/// The lines of paragraphs and list items that have more than one, with their numbers.
fn wrapped(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut paragraphs: Vec<Vec<(usize, &str)>> = vec![Vec::new()];
    let mut is_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        let trimmed = line.trim_start();
        let is_fence = trimmed.starts_with("```");
        is_code ^= is_fence;
        let is_prose = !is_code && !is_fence && !trimmed.is_empty() && !trimmed.starts_with(['|', '#', '<']);
        if !is_prose || is_item(trimmed) {
            paragraphs.push(Vec::new());
        }
        if is_prose && let Some(last) = paragraphs.last_mut() {
            last.push((number, line));
        }
    }
    paragraphs.into_iter().filter(|lines| lines.len() > 1).flatten()
}

/// True if the line begins an item of a list.
fn is_item(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    match rest.len() == line.len() {
        true => line.starts_with("- ") || line.starts_with("* "),
        false => rest.starts_with(". "),
    }
}

/// The line without what marks it as a comment, so that a phrase is found where a line breaks it.
fn unmarked(line: &str) -> &str {
    line.trim().trim_start_matches(['/', '!', '#', '*']).trim()
}

/// True if `line` has the phrase as whole words.
fn has_phrase(line: &str, phrase: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(phrase)
        .any(|(at, _)| !line[..at].ends_with(is_word) && !line[at + phrase.len()..].starts_with(is_word))
}

#[test]
fn the_glossary_has_at_most_thirty_terms_with_a_sentence_each() {
    let page = std::fs::read_to_string(workspace().join("ARCHITECTURE.md")).unwrap();
    let glossary = page.split("\n## ").find(|section| section.starts_with("Glossary")).unwrap();
    let rows: Vec<_> = glossary.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!((20..=30).contains(&rows.len()), "{} terms", rows.len());
    let long: Vec<_> = rows.iter().filter(|row| row.contains(". ")).collect();
    assert!(long.is_empty(), "more than a sentence: {long:?}");
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

fn relative_path(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap_or(path).display().to_string()
}
