//! The names of types and modules: a noun each; a type has one meaning. The names of tests: sentences that begin with
//! their subject.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, Item};
use witgate_tests::gateway::workspace;

/// The directories with crates whose types are checked. The code of tests is excluded.
const FOLDERS: [&str; 2] = ["host", "plugins"];

/// Names that several types share because they mean the same, with the reason.
const SHARED: &[(&str, &[&str], &str)] = &[
    (
        "Algorithm",
        &["plugins/jwt/src/algorithm.rs", "plugins/sdk/src/host.rs"],
        "a signature algorithm, in settings and for the host",
    ),
    (
        "ArgumentSchema",
        &["host/config/src/argument.rs", "host/config/src/raw/policy.rs"],
        "the setting `schema` of an argument, resolved and as written",
    ),
    (
        "ArgumentSettings",
        &["host/config/src/argument.rs", "host/config/src/raw/policy.rs"],
        "the setting `argument` of a policy, resolved and as written",
    ),
    (
        "Arguments",
        &[
            "host/src/cli/audit/check.rs",
            "host/src/cli/audit/export.rs",
            "host/src/cli/audit/prove.rs",
            "host/src/cli/audit/query.rs",
            "host/src/cli/audit/show.rs",
            "host/src/cli/audit/tail.rs",
            "host/src/cli/audit/verify.rs",
            "host/src/cli/can.rs",
            "host/src/cli/credential/import.rs",
            "host/src/cli/credential/login.rs",
            "host/src/cli/demo.rs",
            "host/src/cli/diff.rs",
            "host/src/cli/doctor.rs",
            "host/src/cli/explain/arguments.rs",
            "host/src/cli/init.rs",
            "host/src/cli/key/check.rs",
            "host/src/cli/key/import.rs",
            "host/src/cli/lint.rs",
            "host/src/cli/plugin/bench/arguments.rs",
            "host/src/cli/plugin/build.rs",
            "host/src/cli/plugin/export.rs",
            "host/src/cli/plugin/new_project.rs",
            "host/src/cli/plugin/record.rs",
            "host/src/cli/plugin/run/arguments.rs",
            "host/src/cli/plugin/test/arguments.rs",
            "host/src/cli/reload.rs",
            "host/src/cli/serve.rs",
            "host/src/cli/suggest.rs",
            "host/src/cli/token/forget.rs",
            "host/src/cli/token/issue.rs",
            "host/src/cli/token/revoke.rs",
            "host/src/cli/token/verify.rs",
            "host/src/cli/trace.rs",
            "host/src/cli/unused.rs",
            "host/src/cli/upstream/approve.rs",
            "host/src/cli/upstream/diff.rs",
            "host/src/cli/user/import.rs",
            "host/src/cli/who_can.rs",
            "host/src/cli/wrap.rs",
        ],
        "the command line of the command that the file is named after",
    ),
    (
        "Audit",
        &[RESOLVED, "host/config/src/raw/audit.rs", "host/flow/src/audit/destination.rs"],
        "the audit: as it is written, as it is resolved, and as the destination of records",
    ),
    ("AuditOverflow", &[RESOLVED, "host/config/src/raw/server.rs"], SECTION),
    ("AuditWrite", &[RESOLVED, "host/config/src/raw/server.rs"], SECTION),
    (
        "Call",
        &["host/message/src/call.rs", "plugins/sdk/src/types.rs"],
        "the message of a client, as the host reads it and as policies see it",
    ),
    ("CallLimit", &["host/config/src/limits.rs", "host/config/src/raw/limits.rs"], SECTION),
    (
        "Case",
        &["host/cases/src/case.rs", "host/cases/src/format.rs"],
        "a case as it is written, and as it is read",
    ),
    ("ClientCertificates", &[RESOLVED, "host/config/src/raw/server.rs"], SECTION),
    (
        "Command",
        &[
            "host/src/cli.rs",
            "host/src/cli/accounts.rs",
            "host/src/cli/audit.rs",
            "host/src/cli/config.rs",
            "host/src/cli/credential.rs",
            "host/src/cli/key.rs",
            "host/src/cli/log.rs",
            "host/src/cli/lockout.rs",
            "host/src/cli/peers.rs",
            "host/src/cli/plugin.rs",
            "host/src/cli/secret.rs",
            "host/src/cli/token.rs",
            "host/src/cli/upstream.rs",
            "host/src/cli/user.rs",
        ],
        "the commands below the one that the file is named after",
    ),
    (
        "Config",
        &[
            RESOLVED,
            "plugins/api-key/src/lib.rs",
            "plugins/basic/src/lib.rs",
            "plugins/client-certificate/src/lib.rs",
            "plugins/jwt/src/lib.rs",
            "plugins/oauth2-introspection/src/lib.rs",
            "plugins/rbac/src/settings.rs",
        ],
        "the settings of the program, or of the policy, that the crate is",
    ),
    ("Denials", &[RESOLVED, "host/config/src/raw/server.rs"], SECTION),
    (
        "Era",
        &["host/config/src/raw/upstream.rs", "host/message/src/era.rs"],
        "an era of the protocol, as it is written, and as it is resolved",
    ),
    (
        "Exchange",
        &["host/cases/src/exchange.rs", "host/cases/src/format.rs"],
        "an HTTP request of a case as it is written, and as it is read",
    ),
    ("Extension", &[RESOLVED, "host/config/src/raw/server.rs"], SECTION),
    ("Fallback", &[RESOLVED, "host/config/src/raw/policy.rs"], SECTION),
    ("Forwarded", &[RESOLVED, "host/config/src/raw/server.rs"], SECTION),
    ("Grants", &[RESOLVED, "host/config/src/raw/policy.rs"], SECTION),
    (
        "HttpAnswer",
        &["host/services/src/fetch/exchange.rs", "plugins/sdk/src/testing/http.rs"],
        "the answer of an HTTP server as a policy sees it, from the host and from the host of unit tests",
    ),
    ("IdentitySettings", &["host/config/src/identity.rs", "host/config/src/raw/upstream.rs"], SECTION),
    ("IdentityToken", &["host/config/src/identity.rs", "host/config/src/raw/upstream.rs"], SECTION),
    ("Isolation", &[RESOLVED, "host/config/src/raw/policy.rs"], SECTION),
    (
        "Key",
        &["host/config/src/raw/secret.rs", "host/services/src/keys.rs"],
        "a key that the host holds, as it is written, and as policies use it",
    ),
    ("Limits", &[RESOLVED, "host/config/src/raw/policy.rs"], SECTION),
    ("Lockout", &["host/config/src/limits.rs", "host/config/src/raw/limits.rs"], SECTION),
    ("Mode", &[RESOLVED, "host/config/src/raw/policy.rs"], SECTION),
    ("Network", &[RESOLVED, RAW], SECTION),
    ("Telemetry", &[RESOLVED, RAW], SECTION),
    (
        "Pipeline",
        &[RESOLVED, "host/config/src/raw/policy.rs", "host/policy/src/generation/pipeline.rs"],
        "the policies of an upstream, as they are written, as they are resolved, and as they judge",
    ),
    (
        "Policy",
        &[RESOLVED, "host/config/src/raw/policy.rs", "host/policy/src/lib.rs"],
        "a policy as it is written, as it is resolved, and as it judges",
    ),
    (
        "Principal",
        &["host/base/src/party.rs", "host/cases/src/format.rs", "plugins/sdk/src/types.rs"],
        "the identity of a caller, for comparing, in a case, and as policies see it",
    ),
    (
        "Question",
        &["host/cases/src/case.rs", "host/cases/src/format.rs"],
        "a question of a case as it is written, and as it is read",
    ),
    ("Server", &[RESOLVED, "host/config/src/raw/server.rs"], SECTION),
    ("Signing", &[RESOLVED, RAW], SECTION),
    (
        "Transport",
        &[RESOLVED, "host/config/src/raw/server.rs", "plugins/sdk/src/types.rs"],
        "the transport towards clients, as it is written, as it is resolved, and as policies see it",
    ),
    (
        "Upstream",
        &[RESOLVED, "host/config/src/raw/upstream.rs", "host/flow/src/port.rs"],
        "an upstream as it is written, as it is resolved, and as it works",
    ),
];

const RAW: &str = "host/config/src/raw.rs";
const RESOLVED: &str = "host/config/src/lib.rs";
const SECTION: &str = "a section as it is written, and as it is resolved";

/// Words that are no name for a thing: pronouns, adverbs, and participles and verbs without their noun.
const BANNED: &[&str] = &[
    "About",
    "Against",
    "All",
    "Answered",
    "Answering",
    "Any",
    "Around",
    "Ask",
    "Asked",
    "Asking",
    "Assembled",
    "AtOnce",
    "AtWork",
    "Back",
    "Before",
    "Beside",
    "Bridging",
    "Broken",
    "Building",
    "Built",
    "By",
    "Called",
    "Checked",
    "Chosen",
    "Closed",
    "Compiled",
    "Compiling",
    "Confined",
    "Connecting",
    "Current",
    "Cut",
    "Decided",
    "Declared",
    "Eager",
    "Ear",
    "Embedded",
    "Ended",
    "Exhausted",
    "Expected",
    "Exported",
    "Failing",
    "First",
    "Fixed",
    "Flooded",
    "Folded",
    "Foreign",
    "Forged",
    "Forgotten",
    "Found",
    "Full",
    "Gathered",
    "Given",
    "Giving",
    "Gone",
    "Good",
    "Granted",
    "Greeted",
    "Guarded",
    "Heard",
    "Held",
    "HeldBack",
    "Here",
    "Home",
    "InForce",
    "Inner",
    "Inside",
    "Is",
    "Issued",
    "Keeps",
    "Kept",
    "Known",
    "Lacking",
    "Last",
    "Lasting",
    "Launching",
    "Linger",
    "Live",
    "Loaded",
    "Looked",
    "Lost",
    "Made",
    "Making",
    "Malformed",
    "Many",
    "Marked",
    "Metered",
    "Missing",
    "Mouth",
    "Named",
    "New",
    "Next",
    "NotGathered",
    "NotMade",
    "NotOpened",
    "NotRecorded",
    "NotTaken",
    "Now",
    "Observed",
    "OnStage",
    "Only",
    "Open",
    "Opened",
    "Opening",
    "Out",
    "OutFor",
    "Outer",
    "Over",
    "Own",
    "PassedOver",
    "Passing",
    "Pending",
    "Played",
    "Pointed",
    "Prepared",
    "Pretty",
    "Previous",
    "Probed",
    "Proven",
    "Pulled",
    "Questioned",
    "Quiet",
    "Quoted",
    "Ran",
    "Read",
    "Reading",
    "Ready",
    "Received",
    "Recorded",
    "Refused",
    "Rejected",
    "Repeated",
    "Required",
    "Rest",
    "Retold",
    "Revoked",
    "RolledBack",
    "Running",
    "Said",
    "Sealed",
    "Seen",
    "SeenWith",
    "Seldom",
    "Sent",
    "Shared",
    "Shipped",
    "Shown",
    "Signed",
    "Silent",
    "Single",
    "Speaks",
    "Spent",
    "Staging",
    "Standing",
    "Stopped",
    "Strict",
    "Taken",
    "Theirs",
    "To",
    "Told",
    "Translated",
    "Unanswered",
    "Unclear",
    "Uncompiled",
    "UnderWay",
    "Unfiltered",
    "Unmade",
    "Unopened",
    "Unparsed",
    "Unproven",
    "Unread",
    "Unsigned",
    "Unusable",
    "Unwatched",
    "Used",
    "Verified",
    "Waiting",
    "Wanted",
    "Warm",
    "What",
    "Which",
    "Who",
    "Whom",
    "Whose",
    "Within",
    "Written",
    "Wrong",
];

/// Words that no test name begins with: pronouns, and prepositions that put the subject at the end.
const NO_SUBJECT: &[&str] = &[
    "as", "beside", "by", "from", "how", "in", "it", "its", "nobody", "of", "on", "over", "such", "those",
    "through", "what", "whatever", "when", "where", "which", "while", "who", "whoever", "whom", "whose",
    "with",
];

#[test]
fn a_type_name_stands_for_one_thing() -> Result<()> {
    let mut found = Vec::new();
    for (name, places) in types()? {
        let allowed =
            SHARED.iter().find(|(shared, ..)| *shared == name).map_or(&[][..], |(_, places, _)| places);
        let others: Vec<_> = places.iter().filter(|place| !allowed.contains(&place.as_str())).collect();
        if places.len() > 1 && !others.is_empty() {
            found.push(format!("{name}: {}", places.join(", ")));
        }
    }
    assert!(
        found.is_empty(),
        "give each a name of its own, or say why they mean the same:\n{}",
        found.join("\n")
    );
    Ok(())
}

#[test]
fn the_list_of_shared_names_is_current() -> Result<()> {
    let types = types()?;
    for (name, places, reason) in SHARED {
        let found: BTreeSet<_> = types.get(*name).into_iter().flatten().map(String::as_str).collect();
        let expected = places.iter().copied().collect();
        assert_eq!(found, expected, "{name}: {reason}");
        assert!(places.len() > 1 && !reason.is_empty(), "{name}");
    }
    Ok(())
}

#[test]
fn a_type_has_a_noun_for_a_name() -> Result<()> {
    let types = types()?;
    let found: Vec<_> = types.iter().filter(|(name, _)| BANNED.contains(&name.as_str())).collect();
    assert!(found.is_empty(), "say what the thing is: {found:#?}");
    Ok(())
}

#[test]
fn a_module_has_a_noun_for_a_name() -> Result<()> {
    let mut files = sources()?;
    for folder in ["tests", "xtask"] {
        for path in rust_files(&workspace().join(folder))? {
            let file = syn::parse_file(&fs::read_to_string(&path)?)?;
            files.insert(path, file);
        }
    }
    let mut found = Vec::new();
    for (path, file) in files {
        let mut reader = Reader::default();
        reader.visit_file(&file);
        let banned = reader.modules.into_iter().filter(|name| BANNED.contains(&in_camel_case(name).as_str()));
        found.extend(banned.map(|name| format!("{}: {name}", path.display())));
    }
    assert!(found.is_empty(), "say what is in it:\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn a_test_name_begins_with_its_subject() -> Result<()> {
    let mut found = Vec::new();
    for folder in ["host", "plugins", "tests", "xtask"] {
        for path in rust_files(&workspace().join(folder))? {
            let mut tests = TestNames::default();
            tests.visit_file(&syn::parse_file(&fs::read_to_string(&path)?)?);
            let odd =
                tests.0.into_iter().filter(|name| NO_SUBJECT.contains(&name.split('_').next().unwrap()));
            found.extend(odd.map(|name| format!("{}: {name}", path.display())));
        }
    }
    assert!(found.is_empty(), "name the case, and what is expected of it:\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn types_in_functions_are_read_and_those_of_tests_are_not() -> Result<()> {
    let text = "struct A; mod inside { enum B {} } fn f() { trait C {} } type D = A; impl A { type E = A; }
        #[cfg(test)] mod tests { struct F; } #[cfg(test)] struct G; #[cfg(test)] fn h() { struct I; }";
    let mut reader = Reader::default();
    reader.visit_file(&syn::parse_file(text)?);
    assert_eq!(reader.types, ["A", "B", "C", "D"]);
    assert_eq!(reader.modules, ["inside"]);
    Ok(())
}

/// The files that define a type, by its name.
fn types() -> Result<BTreeMap<String, Vec<String>>> {
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, file) in sources()? {
        let mut reader = Reader::default();
        reader.visit_file(&file);
        let place = path.strip_prefix(workspace())?.display().to_string();
        for name in reader.types {
            types.entry(name).or_default().push(place.clone());
        }
    }
    Ok(types)
}

/// The source files of all crates in [`FOLDERS`].
fn sources() -> Result<BTreeMap<PathBuf, syn::File>> {
    let mut files = BTreeMap::new();
    for folder in FOLDERS.map(|folder| workspace().join(folder)) {
        let crates = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path()));
        for root in crates.chain([Ok(folder)]).collect::<Result<Vec<_>>>()? {
            for root in ["src/lib.rs", "src/main.rs"].map(|name| root.join(name)) {
                if root.is_file() {
                    gather(&root, root.parent().context("no folder")?, &mut files)?;
                }
            }
        }
    }
    Ok(files)
}

/// All Rust files below a folder, without those that tools have installed, and those that are templates of Rust.
fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.extension().and_then(|suffix| suffix.to_str()) {
            _ if path.ends_with("node_modules") || path.ends_with("templates") => {}
            _ if path.is_dir() => files.extend(rust_files(&path)?),
            Some("rs") => files.push(path),
            _ => {}
        }
    }
    Ok(files)
}

/// Reads one file, and those of its modules that are files. `folder` is where the latter are.
fn gather(path: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, syn::File>) -> Result<()> {
    let file = syn::parse_file(&fs::read_to_string(path).with_context(|| path.display().to_string())?)?;
    for item in &file.items {
        let Item::Mod(child) = item else { continue };
        if child.content.is_none() && !is_for_tests(&child.attrs) {
            let inside = folder.join(child.ident.to_string());
            gather(&inside.with_extension("rs"), &inside, files)?;
        }
    }
    files.insert(path.to_owned(), file);
    Ok(())
}

/// The names of the types and modules that one file defines.
#[derive(Default)]
struct Reader {
    types: Vec<String>,
    modules: Vec<String>,
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, name): (&[Attribute], Option<&Ident>) = match item {
            Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            Item::Type(item) => (&item.attrs, Some(&item.ident)),
            Item::Mod(item) => (&item.attrs, None),
            Item::Fn(item) => (&item.attrs, None),
            Item::Impl(item) => (&item.attrs, None),
            _ => (&[], None),
        };
        if is_for_tests(attributes) {
            return;
        }
        self.types.extend(name.map(Ident::to_string));
        if let Item::Mod(module) = item {
            self.modules.push(module.ident.to_string());
        }
        visit::visit_item(self, item);
    }
}

/// The names of the tests that one file has.
#[derive(Default)]
struct TestNames(Vec<String>);

impl<'ast> Visit<'ast> for TestNames {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let is_test = |attribute: &Attribute| {
            attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
        };
        if item.attrs.iter().any(is_test) {
            self.0.push(item.sig.ident.to_string());
        }
        visit::visit_item_fn(self, item);
    }
}

/// The name of a module as that of a type would be written.
fn in_camel_case(name: &str) -> String {
    let words = name.split('_').filter_map(|word| word.split_at_checked(1));
    words.map(|(first, rest)| first.to_uppercase() + rest).collect()
}

/// True for `#[cfg(test)]` and `#[cfg(doctest)]`.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        list.path.is_ident("cfg") && ["test", "doctest"].contains(&list.tokens.to_string().as_str())
    })
}
