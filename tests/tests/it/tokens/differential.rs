//! Generated tokens, valid and damaged, judged by the built-in, the component, PyJWT and jose. The first two must
//! always agree. Every disagreement with the libraries must have a reason, in [`reasons`].

mod drafts;
mod judges;
mod random;
mod reasons;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use witgate_cases::TestSubject;
use witgate_config::PolicyKind;
use witgate_plugin::Verdict;
use witgate_policy::answer::Outcome;
use witgate_tests::cases::{both, directory, loader};

use super::forge::{self, AUDIENCE, ISSUER, NOW};
use super::{Attack, Policy, question};
use drafts::Made;
use judges::Judge;
use random::Random;
use reasons::REASONS;

const ALGORITHMS: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

/// The first seed unless `WITGATE_DIFFERENTIAL_SEED` sets it: the same seed finds the same faults.
const SEED: u64 = 0x5eed;

#[tokio::test]
async fn built_in_and_component_agree_on_two_thousand_tokens() {
    compare(2_000).await;
}

/// `cargo nextest run --workspace --run-ignored only -E 'test(twenty_thousand)'`
#[tokio::test]
#[ignore = "takes a minute or more"]
async fn built_in_and_component_agree_on_twenty_thousand_tokens() {
    compare(20_000).await;
}

async fn compare(count: usize) {
    let seed =
        std::env::var("WITGATE_DIFFERENTIAL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED);
    let mut random = Random::new(seed);
    let all: Vec<Made> = (0..count).map(|_| drafts::make(&mut random)).collect();
    let terms = json!({
        "jwks": forge::set(), "algorithms": ALGORITHMS, "issuer": ISSUER, "audience": AUDIENCE, "leeway": 60, "now": NOW,
    });
    let tokens: Vec<&str> = all.iter().map(|made| made.token.as_str()).collect();
    let verdicts = Judge::ALL.map(|judge| (judge, judge.judge(&terms, &tokens)));
    let [built_in, component] = both(PolicyKind::Jwt);
    let built_in = judged_by(&built_in, &tokens).await;
    let component = judged_by(&component, &tokens).await;

    let mut findings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut find = |what: String, made: &Made| findings.entry(what).or_default().push(made.token.clone());
    let mut used = BTreeSet::new();
    for (at, made) in all.iter().enumerate() {
        let own_verdict = &built_in[at];
        if *own_verdict != component[at] {
            find(
                format!("{:?}: built-in {own_verdict:?}, component {:?}", made.changes, component[at]),
                made,
            );
        }
        let is_taken = matches!(own_verdict, Verdict::Identity(_));
        for (judge, verdicts) in &verdicts {
            let other_verdict = &verdicts[at];
            if (other_verdict == "yes") == is_taken {
                continue;
            }
            match reasons::why(*judge, made, is_taken) {
                Some(reason) => drop(used.insert(reason)),
                None => find(
                    format!(
                        "{:?}: {judge:?} says {other_verdict}, Witgate {}",
                        made.changes,
                        description(own_verdict)
                    ),
                    made,
                ),
            }
        }
    }
    let lines: Vec<_> = findings
        .iter()
        .map(|(what, tokens)| format!("{what}, {} times, as {}", tokens.len(), tokens[0]))
        .collect();
    assert!(findings.is_empty(), "seed {seed}: disagreements:\n{}", lines.join("\n"));
    let accepted = built_in.iter().filter(|verdict| matches!(verdict, Verdict::Identity(_))).count();
    assert!(accepted > count / 5 && accepted < count * 4 / 5, "{accepted} of {count} are taken");
    let stale: Vec<_> =
        REASONS.iter().enumerate().filter(|(at, _)| !used.contains(at)).map(|(_, why)| why).collect();
    // Among fewer tokens the rarest may be missing.
    assert!(stale.is_empty() || count < 20_000, "seed {seed}: nobody disagrees like this: {stale:?}");
}

fn description(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Identity(_) => "yes".to_owned(),
        Verdict::Refused(refusal) => {
            format!("{}: {}", refusal.reason, refusal.detail.as_deref().unwrap_or_default())
        }
        other => format!("{other:?}"),
    }
}

/// Witgate's verdicts on the tokens, in their order.
async fn judged_by(subject: &TestSubject, tokens: &[&str]) -> Vec<Verdict> {
    let case = Attack::good(&Policy::public(), "generated", String::new()).case();
    let policy = subject.on_stage(&loader(), &directory(), &case).await.unwrap();
    let mut verdicts = Vec::new();
    for token in tokens {
        match policy.ask(&question((*token).to_owned())).await.outcome {
            Outcome::Verdict(verdict) => verdicts.push(verdict),
            other => panic!("{other:?}"),
        }
    }
    verdicts
}
