//! The tables of cases of the shipped policies, and the policies under test. The host reads and runs the tables, as it
//! does for `witgate plugin test`.

use std::path::{Path, PathBuf};

use witgate_cases::{Case, Suite, TestSubject};
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::load::Loader;
use witgate_config::PolicyKind;

use crate::gateway::{component, workspace};

/// The kinds that have a table.
pub const KINDS: [PolicyKind; 6] = [
    PolicyKind::ApiKey,
    PolicyKind::Basic,
    PolicyKind::Jwt,
    PolicyKind::Introspection,
    PolicyKind::ClientCertificate,
    PolicyKind::Rbac,
];

/// The directory of the tables.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

/// The table of a kind.
pub fn table(kind: PolicyKind) -> Suite {
    Suite::read(&directory().join(kind.name()).with_extension("toml")).unwrap()
}

/// The built-in of a kind, and the component.
pub fn both(kind: PolicyKind) -> [TestSubject; 2] {
    [TestSubject::builtin(kind), TestSubject::component(kind, &component(kind.name()))]
}

/// The loader of components: it compiles each once for all tests.
pub fn loader() -> Loader {
    let cache = workspace().join("target/witgate-cache");
    Loader::new(Engine::new().unwrap(), Compiler::Within, Some(cache))
}

/// Runs all cases against a subject, and returns the failures.
pub async fn put(subject: &TestSubject, cases: &[Case]) -> Vec<String> {
    let loader = loader();
    let mut failures = Vec::new();
    for case in cases {
        let report = subject.put(&loader, &directory(), case).await;
        let kind = if subject.component.is_some() { "component" } else { "built-in" };
        failures.extend(
            report
                .problems()
                .iter()
                .map(|problem| format!("{kind} {:?}: {}: {problem}", subject.kind, case.name)),
        );
    }
    failures
}
