//! The comparisons of one caller with another one, over time, and against servers that mislead.

use std::sync::Arc;

use witgate_base::party::{Party, Principal};
use witgate_config::pins::{ApprovedDefinitions, Definition, EntryKind, PinMode, Pins};
use witgate_plugin::TargetKind;
use witgate_runtime::metrics::Metrics;

use super::{DefinitionAccess, DefinitionLife, DefinitionWatch, LifeKey, passes};

fn definition(kind: EntryKind, name: &str, description: &str) -> Definition {
    let member = kind.name_member();
    Definition::read(kind, &format!(r#"{{"{member}":"{name}","description":"{description}"}}"#)).unwrap()
}

fn tool(name: &str, description: &str) -> (String, Option<Definition>) {
    (name.to_owned(), Some(definition(EntryKind::Tool, name, description)))
}

/// The approved tools `a` and `b`, the resource `x:/listed`, and the template `x:/{any}`.
fn pins(mode: PinMode) -> Pins {
    let of = |kind, name: &str| (kind, name.to_owned(), definition(kind, name, "good").digest);
    let approved = ApprovedDefinitions::new([
        of(EntryKind::Tool, "a"),
        of(EntryKind::Tool, "b"),
        of(EntryKind::Resource, "x:/listed"),
        of(EntryKind::ResourceTemplate, "x:/{any}"),
    ]);
    Pins { mode, approved: Arc::new(approved), is_damaged: false }
}

fn watch() -> Arc<DefinitionWatch> {
    Arc::new(DefinitionWatch::new(&"files".into(), &Metrics::default()))
}

fn life(watch: &Arc<DefinitionWatch>, session: &str) -> Arc<DefinitionLife> {
    let principal = Principal::new("keys".into(), None, "ada");
    watch.life(LifeKey::new(principal.clone(), Some(session)), Party::Principal(principal))
}

fn take(life: &DefinitionLife, kind: EntryKind, entries: &[(String, Option<Definition>)]) {
    life.take_list(&pins(PinMode::Hold), (kind, life.begin_list()), entries);
}

fn access(life: &DefinitionLife, name: &str) -> DefinitionAccess {
    life.access(&pins(PinMode::Hold).approved, (TargetKind::Tool, name), false)
}

fn passes_to(life: &DefinitionLife, mode: PinMode, name: &str, description: &str) -> bool {
    let text = definition(EntryKind::Tool, name, description).value.to_string();
    passes(&pins(mode), Some(life), (EntryKind::Tool, name, &text))
}

#[test]
fn a_call_needs_a_list_that_shows_the_approved_definition() {
    let watch = watch();
    let life = life(&watch, "1");
    assert_eq!(access(&life, "a"), DefinitionAccess::Unknown);
    assert_eq!(access(&life, "c"), DefinitionAccess::Withheld, "it is not approved");
    take(&life, EntryKind::Tool, &[tool("a", "good"), tool("c", "good")]);
    assert_eq!(access(&life, "a"), DefinitionAccess::Approved);
    assert_eq!(access(&life, "b"), DefinitionAccess::Withheld, "it is not listed");
    assert_eq!(access(&life, "c"), DefinitionAccess::Withheld, "it is not approved");
    assert_eq!(watch.unapproved(&pins(PinMode::Hold).approved), 1);
}

#[test]
fn the_list_of_one_session_says_nothing_about_another() {
    let watch = watch();
    take(&life(&watch, "1"), EntryKind::Tool, &[tool("a", "good")]);
    assert_eq!(access(&life(&watch, "1"), "a"), DefinitionAccess::Approved);
    assert_eq!(access(&life(&watch, "2"), "a"), DefinitionAccess::Unknown);
}

#[test]
fn a_duplicate_with_another_definition_is_withheld() {
    let life = life(&watch(), "1");
    take(
        &life,
        EntryKind::Tool,
        &[tool("a", "good"), tool("a", "bad"), tool("a", "good"), tool("b", "good")],
    );
    assert_eq!(access(&life, "a"), DefinitionAccess::Withheld);
    take(&life, EntryKind::Tool, &[tool("a", "good")]);
    assert_eq!(access(&life, "a"), DefinitionAccess::Withheld, "the server alternates");
    assert!(!passes_to(&life, PinMode::Hold, "a", "good"), "lists and calls are decided alike");
}

#[test]
fn another_definition_in_a_list_that_passes_withholds_calls_at_once() {
    let watch = watch();
    let (one, other) = (life(&watch, "1"), life(&watch, "2"));
    for life in [&one, &other] {
        take(life, EntryKind::Tool, &[tool("a", "good"), tool("b", "good")]);
    }
    assert!(passes_to(&one, PinMode::Hold, "b", "good"));
    assert!(!passes_to(&one, PinMode::Hold, "a", "bad"));
    assert_eq!(access(&one, "a"), DefinitionAccess::Withheld);
    assert_eq!(access(&other, "a"), DefinitionAccess::Unknown, "it is asked again");
    assert!(passes_to(&one, PinMode::Warn, "a", "bad"), "it is only reported");
}

#[test]
fn an_announced_change_makes_lists_old() {
    let watch = watch();
    let life = life(&watch, "1");
    take(&life, EntryKind::Tool, &[tool("a", "good")]);
    life.note_change();
    assert_eq!(access(&life, "a"), DefinitionAccess::Unknown);
    // An announcement while the list is read comes from before or after it: the list counts for this call alone.
    let begin = life.begin_list();
    life.note_change();
    life.take_list(&pins(PinMode::Hold), (EntryKind::Tool, begin), &[tool("a", "good")]);
    assert_eq!(access(&life, "a"), DefinitionAccess::Unknown);
    let at_once = life.access(&pins(PinMode::Hold).approved, (TargetKind::Tool, "a"), true);
    assert_eq!(at_once, DefinitionAccess::Approved);
}

#[test]
fn other_approved_definitions_need_another_list() {
    let life = life(&watch(), "1");
    take(&life, EntryKind::Tool, &[tool("a", "good"), tool("c", "good")]);
    let more = definition(EntryKind::Tool, "c", "good").digest;
    let approved = ApprovedDefinitions::new([(EntryKind::Tool, "c".to_owned(), more)]);
    assert_eq!(life.access(&approved, (TargetKind::Tool, "c"), true), DefinitionAccess::Unknown);
}

#[test]
fn a_resource_comes_from_an_approved_template_unless_it_is_listed() {
    let watch = watch();
    let life = life(&watch, "1");
    let approved = pins(PinMode::Hold).approved;
    let access = |uri| life.access(&approved, (TargetKind::Resource, uri), false);
    let entry = |kind, name: &str| (name.to_owned(), Some(definition(kind, name, "good")));
    assert_eq!(access("x:/1"), DefinitionAccess::Unknown);
    assert_eq!(access("y:/1"), DefinitionAccess::Withheld);
    let listed = [entry(EntryKind::Resource, "x:/listed"), entry(EntryKind::Resource, "x:/new")];
    take(&life, EntryKind::Resource, &listed);
    assert_eq!(access("x:/1"), DefinitionAccess::Unknown, "the list of templates is missing");
    take(&life, EntryKind::ResourceTemplate, &[entry(EntryKind::ResourceTemplate, "x:/{any}")]);
    assert_eq!(access("x:/1"), DefinitionAccess::Approved);
    assert_eq!(access("x:/listed"), DefinitionAccess::Approved);
    assert_eq!(access("x:/new"), DefinitionAccess::Withheld, "it is listed, and not approved");
    assert_eq!(access("x:/{any}"), DefinitionAccess::Approved, "the template itself, for completions");
}

#[test]
fn lives_are_bounded_for_each_party() {
    let watch = watch();
    let first = life(&watch, "first");
    take(&first, EntryKind::Tool, &[tool("a", "good")]);
    for number in 0..1_000 {
        life(&watch, &number.to_string());
    }
    assert_eq!(access(&life(&watch, "first"), "a"), DefinitionAccess::Unknown, "it is forgotten");
    assert_eq!(access(&first, "a"), DefinitionAccess::Approved);
}

#[test]
fn an_entry_that_cannot_be_read_does_not_pass() {
    let life = life(&watch(), "1");
    let text = r#"{"name":"a","description":"good","description":"bad"}"#;
    assert!(!passes(&pins(PinMode::Hold), Some(&life), (EntryKind::Tool, "a", text)));
    assert!(passes(&pins(PinMode::Warn), Some(&life), (EntryKind::Tool, "a", text)));
    let text = r#"{"name":"a","description":"good"}"#;
    assert!(passes(&pins(PinMode::Hold), None, (EntryKind::Tool, "a", text)));
    assert!(!passes(&pins(PinMode::Hold), None, (EntryKind::Tool, "c", text)));
}
