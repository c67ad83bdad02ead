//! The tables of the shipped policies, run against the built-ins and the components.

use witgate_tests::cases::{KINDS, both, put, table};

#[tokio::test]
async fn built_ins_and_components_pass_the_tables() {
    let mut failures = Vec::new();
    for kind in KINDS {
        for subject in both(kind) {
            failures.extend(put(&subject, &table(kind).cases).await);
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// The fewest cases: with fewer, a promise of the policies would have no test.
#[test]
fn every_policy_has_its_forty_cases() {
    for kind in KINDS {
        let table = table(kind);
        assert!(table.cases.len() >= 40, "{kind:?}: {}", table.cases.len());
        assert_eq!(table.kind, Some(kind));
    }
}
