//! Conditions on annotations, and the agreement of lists with calls.

use proptest::prelude::*;
use serde_json::{Value, json};
use witgate_plugin::testing::{FakeHost, Person, block_on, tool};
use witgate_plugin::{
    Authorize as _, Call, Decision, EntryDecision, Plugin as _, TargetKind, ToolAnnotations,
};

use crate::Rbac;
use crate::settings::Annotation;

/// The names of tools. Some patterns cover several of them.
const TOOLS: [&str; 4] = ["get_rows", "get_sum", "put_rows", "drop"];

const PATTERNS: [&str; 5] = ["*", "get_*", "*_rows", "drop", "put_rows"];

fn annotations() -> impl Strategy<Value = Option<ToolAnnotations>> {
    let hints = any::<[bool; 4]>().prop_map(|[read_only, destructive, idempotent, open_world]| {
        ToolAnnotations { read_only, destructive, idempotent, open_world }
    });
    prop::option::weighted(0.8, hints)
}

/// A condition: its pattern, its annotation, and the expected value.
type AnnotationTest = (&'static str, Annotation, bool);

fn condition() -> impl Strategy<Value = AnnotationTest> {
    (prop::sample::select(&PATTERNS[..]), prop::sample::select(&Annotation::ALL[..]), any::<bool>())
}

fn written(conditions: &[AnnotationTest]) -> Vec<Value> {
    let condition = |(on, annotation, equals): &AnnotationTest| json!({ "on": on, "annotation": annotation.name(), "equals": equals });
    conditions.iter().map(condition).collect()
}

/// True if the conditions hold, by their meaning.
fn hold(conditions: &[AnnotationTest], name: &str, annotations: Option<&ToolAnnotations>) -> bool {
    conditions.iter().all(|(on, annotation, equals)| {
        let covers = on.parse::<witgate_plugin::Pattern>().unwrap().matches(TargetKind::Tool, name);
        !covers || annotations.is_some_and(|all| annotation.of(all) == *equals)
    })
}

proptest! {
    #[test]
    fn lists_show_what_can_be_called(
        approved in prop::array::uniform4(annotations()),
        own in prop::collection::vec(condition(), 0..3),
        general in prop::collection::vec(condition(), 0..2),
    ) {
        let config = json!({
            "roles": { "user": { "allow": ["*"], "conditions": written(&own) } },
            "conditions": written(&general),
        });
        let (policy, wants) = Rbac::configure_json("roles", &config.to_string()).unwrap();
        let host = TOOLS.iter().zip(&approved).fold(FakeHost::new().wanting(&wants), |host, (name, found)| {
            match found {
                Some(found) => host.annotated(name, *found),
                None => host,
            }
        });
        let ada = Person::named("ada").role("user");
        let listing = Call { listing: true, ..tool("") };
        let batch =
            block_on(policy.authorize_entries(&host, &listing, &TOOLS, &ada.principal())).unwrap();
        for ((name, found), listed) in TOOLS.iter().zip(&approved).zip(batch) {
            let entry = Call { target: name, ..listing };
            let called = host.authorize(&policy, &tool(name), &ada.principal()) == Decision::Allow;
            let alone = host.authorize(&policy, &entry, &ada.principal()) == Decision::Allow;
            prop_assert_eq!((alone, listed == EntryDecision::Allow), (called, called), "{} {}", name, config);
            let expected = [&own, &general].into_iter().all(|some| hold(some, name, found.as_ref()));
            prop_assert_eq!(called, expected, "{} {:?} {}", name, found, config);
        }
    }
}

#[test]
fn a_host_without_annotations_meets_no_condition() {
    for equals in [true, false] {
        for annotation in Annotation::ALL {
            let conditions = written(&[("*", annotation, equals)]);
            let config = json!({ "roles": { "user": { "allow": ["*"], "conditions": conditions } } });
            let (policy, _) = Rbac::configure_json("roles", &config.to_string()).unwrap();
            let ada = Person::named("ada").role("user");
            let decision = FakeHost::new().authorize(&policy, &tool("drop"), &ada.principal());
            assert!(matches!(decision, Decision::Deny(denial) if denial.reason == "condition"));
        }
    }
}
