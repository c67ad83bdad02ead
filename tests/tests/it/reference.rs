//! Set-ups that people replace with Witgate, item by item, with real clients. `docs/moving-over.md` lists all items, and
//! the test that shows each of them.

mod calculator;
mod chapter6;
mod instability;
mod tool_factory;
mod tutorial;

use std::collections::BTreeSet;
use std::fs;

use witgate_tests::gateway::workspace;

/// The set-ups, and the number of their items.
const SYSTEMS: [(&str, usize); 5] = [("R1", 38), ("R2", 34), ("R3", 55), ("R4", 39), ("R5", 45)];

/// The tests of these modules, as `MODULE::TEST`.
fn tests() -> BTreeSet<String> {
    let directory = workspace().join("tests/tests/it/reference");
    let mut tests = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let after_marks = text
            .split("#[tokio::test")
            .chain(text.split("#[test"))
            .filter(|part| part.starts_with([']', '(']));
        for part in after_marks {
            let name = part.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
            tests.insert(format!("{module}::{}", name.unwrap()));
        }
    }
    tests
}

/// The rows of the tables: the number of an item, and the text of the cell that says what shows it.
fn rows() -> Vec<(String, String)> {
    let page = fs::read_to_string(workspace().join("docs/moving-over.md")).unwrap();
    let cells = page.lines().filter_map(|line| line.strip_prefix("| R")?.strip_suffix(" |"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(" | ").collect();
        assert_eq!(cells.len(), 4, "{line}");
        (format!("R{}", cells[0]), cells[3].to_owned())
    };
    cells.map(row).collect()
}

#[test]
fn every_item_has_a_row_and_every_test_shows_an_item() {
    let rows = rows();
    let numbers: Vec<String> = rows.iter().map(|(number, _)| number.clone()).collect();
    let all = SYSTEMS
        .into_iter()
        .flat_map(|(system, items)| (1..=items).map(move |item| format!("{system}.{item}")));
    assert_eq!(numbers, all.collect::<Vec<_>>());

    let tests = tests();
    let mut shown = BTreeSet::new();
    for (number, cell) in rows {
        let named: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty() || cell.starts_with("another way: "), "{number}: {cell}");
        for name in named.into_iter().filter(|_| !cell.starts_with("another way: ")) {
            assert!(tests.contains(name), "{number}: there is no test `{name}`");
            shown.insert(name.to_owned());
        }
    }
    assert_eq!(tests.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new(), "tests without an item");
}
