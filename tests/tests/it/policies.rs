//! The shared table of cases, put to the built-ins.

use witgate_tests::cases::component::Components;
use witgate_tests::cases::native::Native;
use witgate_tests::cases::{Kind, Table, run};

#[tokio::test]
async fn built_ins_answer_as_the_tables_say() {
    let mut failures = Vec::new();
    for table in Table::all().unwrap() {
        failures.extend(run(&Native, &table).await);
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[tokio::test]
async fn components_answer_as_the_tables_say() {
    let components = Components::load().await;
    let mut failures = Vec::new();
    for table in Table::all().unwrap() {
        failures.extend(run(&components, &table).await);
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// Fewer would leave out something that the policies promise.
#[test]
fn every_policy_has_its_forty_cases() {
    for table in Table::all().unwrap() {
        let count = table.cases.len();
        assert!(count >= 40, "{:?}: {count}", table.kind);
        let mut names: Vec<&str> = table.cases.iter().map(|case| case.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{:?}: two cases of one name", table.kind);
    }
    let kinds: Vec<Kind> = Table::all().unwrap().iter().map(|table| table.kind).collect();
    assert_eq!(kinds, [Kind::ApiKey, Kind::Jwt, Kind::Introspection, Kind::ClientCertificate, Kind::Rbac]);
}
