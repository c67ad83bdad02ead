//! Names and passwords, judged by the built-in and the component of `basic`.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use witgate_cases::{CaseCall, HookQuestion, Question, SandboxPolicy};
use witgate_config::PolicyKind;
use witgate_plugin::{Scheme, Verdict};
use witgate_policy::answer::Outcome;
use witgate_tests::cases::{both, directory, loader, table};

use super::{RUNTIME, cases};

/// Both forms, with the users of the table of cases.
static BOTH: LazyLock<Vec<SandboxPolicy>> = LazyLock::new(|| {
    let table = table(PolicyKind::Basic);
    let case = &table.cases[0];
    let made = both(PolicyKind::Basic)
        .map(|subject| RUNTIME.block_on(subject.on_stage(&loader(), &directory(), case)).unwrap());
    made.into()
});

fn judged(policy: &SandboxPolicy, value: &str) -> Verdict {
    let ask = HookQuestion::Who { scheme: Scheme::Basic, value: value.to_owned() };
    match RUNTIME.block_on(policy.ask(&Question::new(CaseCall::named("echo"), ask))).outcome {
        Outcome::Verdict(verdict) => verdict,
        other => panic!("{other:?}"),
    }
}

/// The text before base64: names and passwords that are good, nearly good, or anything.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just("ada".to_owned()),
        Just("jos\u{e9}".to_owned()),
        Just("jose\u{301}".to_owned()),
        Just("gone".to_owned()),
        Just(String::new()),
        "\\PC{0,5}",
    ];
    let password = prop_oneof![
        Just("open sesame".to_owned()),
        Just("p\u{e4}:ss\u{a3}".to_owned()),
        Just("correct horse".to_owned()),
        "\\PC{0,20}",
        "[a-z:\\x00-\\x1f]{0,5}",
        "x{1020,1030}",
    ];
    let pair = (name, password).prop_map(|(name, password)| format!("{name}:{password}").into_bytes());
    prop_oneof![8 => pair, 1 => prop::collection::vec(any::<u8>(), 0..20)]
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn both_forms_agree_about_names_and_passwords(text in text(), damage in prop::option::of((0_usize..60, "[A-Za-z0-9=+/ -]"))) {
        let mut value = STANDARD.encode(text);
        if let Some((place, with)) = damage
            && place < value.len()
        {
            value.replace_range(place..=place, &with);
        }
        let [built_in, component] = &BOTH[..] else { panic!() };
        let verdict = judged(built_in, &value);
        prop_assert_eq!(&verdict, &judged(component, &value));
        // Nothing but the three right pairs is let in.
        if let Verdict::Identity(identity) = verdict {
            let is_known = ["ada", "jos\u{e9}"].contains(&identity.subject.as_str());
            prop_assert!(is_known, "somebody else");
        }
    }
}
