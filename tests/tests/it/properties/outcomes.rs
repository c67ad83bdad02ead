//! No error allows a call: pipelines of real components that answer, refuse or fail in every possible way, in any
//! order.

use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use witgate_component::failure::Failure;
use witgate_flow::authenticate::authenticate;
use witgate_flow::authorize::{Permit, authorize};
use witgate_flow::dpop::Proofs;
use witgate_flow::listing::AnswerFilter;
use witgate_flow::reject::Rejection;
use witgate_plugin::Scheme;
use witgate_policy::MOST_ENTRIES;
use witgate_policy::generation::Generation;
use witgate_tests::gateway::component;

use super::generation_setup::{GenerationSetup, credentials, request};
use super::{RUNTIME, cases};

/// The behaviour of a policy, as the settings of the guest `scripted` name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Yes,
    Passes,
    No,
    CannotSay,
    Loops,
    Traps,
    EatsMemory,
    TalksNonsense,
}

impl Act {
    const ALL: [(Self, &str); 8] = [
        (Self::Yes, "yes"),
        (Self::Passes, "passes"),
        (Self::No, "no"),
        (Self::CannotSay, "cannot-say"),
        (Self::Loops, "loops"),
        (Self::Traps, "traps"),
        (Self::EatsMemory, "eats-memory"),
        (Self::TalksNonsense, "talks-nonsense"),
    ];

    fn failure(self) -> Option<Failure> {
        match self {
            Self::Yes | Self::Passes | Self::No => None,
            Self::CannotSay => Some(Failure::Unavailable),
            Self::Loops => Some(Failure::Timeout),
            Self::Traps => Some(Failure::Trap),
            Self::EatsMemory => Some(Failure::Memory),
            Self::TalksNonsense => Some(Failure::BadOutput),
        }
    }
}

/// A policy, by its name: there are two of each kind, since none is in a pipeline twice.
type Member = (Act, String);

/// The end of a stage.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Yes,
    No,
    /// The policy, and how it failed.
    Failed(String, Failure),
}

impl End {
    fn of<T>(outcome: Result<T, Rejection>) -> Self {
        match outcome {
            Ok(_) => Self::Yes,
            Err(Rejection::Denied { .. } | Rejection::Refused { .. }) => Self::No,
            Err(Rejection::Failed(failed)) => Self::Failed(failed.policy.to_string(), failed.failure),
            Err(other) => panic!("neither yes nor no: {other:?}"),
        }
    }

    /// The first policy that fails ends everything.
    fn fault((act, name): &Member) -> Option<Self> {
        act.failure().map(|failure| Self::Failed(name.clone(), failure))
    }

    /// At least one policy allows, and all others abstain.
    fn of_authorizers(pipeline: &[Member]) -> Self {
        for member in pipeline {
            match member.0 {
                Act::Yes | Act::Passes => {}
                Act::No => return Self::No,
                _ => return Self::fault(member).unwrap(),
            }
        }
        if pipeline.iter().any(|(act, _)| *act == Act::Yes) { Self::Yes } else { Self::No }
    }

    /// The first policy that recognises the credential decides.
    fn of_authenticators(pipeline: &[Member]) -> Self {
        match pipeline.iter().find(|(act, _)| *act != Act::Passes) {
            Some((Act::Yes, _)) => Self::Yes,
            Some((Act::No, _)) | None => Self::No,
            Some(member) => Self::fault(member).unwrap(),
        }
    }
}

fn member() -> impl Strategy<Value = Member> {
    let acts = Act::ALL.map(|(act, name)| {
        let weight = match act {
            Act::Yes | Act::Passes => 5,
            _ => 1,
        };
        (weight, Just((act, name)))
    });
    (prop::strategy::Union::new_weighted(acts.map(|(weight, act)| (weight, act)).to_vec()), any::<bool>())
        .prop_map(|((act, name), second)| (act, format!("{name}-{}", if second { 'b' } else { 'a' })))
}

fn pipeline() -> impl Strategy<Value = Vec<Member>> {
    prop::collection::vec(member(), 1..5).prop_map(|members| {
        let mut once: Vec<Member> = Vec::new();
        for member in members {
            if !once.contains(&member) {
                once.push(member);
            }
        }
        once
    })
}

/// An upstream for each pipeline, which is used in both stages.
fn config(pipelines: &[Vec<Member>]) -> String {
    let file = component("tests/scripted");
    let policies = Act::ALL.iter().flat_map(|(act, does)| ["a", "b"].map(|copy| (*act, *does, copy)));
    let policies: String = policies
        .map(|(act, does, copy)| {
            // Only a guest that loops may exceed its time on a busy machine, and no circuit breaker may open.
            let timeout = if act == Act::Loops { 1 } else { 20_000 };
            format!(
                "[policies.{does}-{copy}]\nkind = 'custom'\ncomponent = {file:?}\nconfig = {{ does = '{does}' }}\n\
                 limits = {{ timeout_ms = {timeout}, memory_mib = 4 }}\nbreaker = {{ failures = 1000000 }}\n"
            )
        })
        .collect();
    let upstreams: String = pipelines
        .iter()
        .enumerate()
        .map(|(place, members)| {
            let names: Vec<&str> = members.iter().map(|(_, name)| name.as_str()).collect();
            format!(
                "[upstreams.u{place:02}]\nown_tools = true\n\
                 [upstreams.u{place:02}.pipeline]\nauthenticate = {names:?}\nauthorize = {names:?}\n"
            )
        })
        .collect();
    policies + &upstreams
}

/// The results of the stages for the pipeline at `place`: authentication, authorization of a caller of the first
/// pipeline, and the list for this caller.
async fn ends(generation: &Arc<Generation>, place: usize) -> [End; 3] {
    let credentials = credentials(Scheme::Bearer);
    let proven = |place, method| {
        let request = request(place, method, &json!({ "name": "anything" }));
        Proofs::default().prove(generation, &request, &credentials).unwrap()
    };
    let call = proven(place, "tools/call");
    let first_caller = authenticate(generation, &proven(0, "tools/call"), &credentials).await.result.unwrap();
    let caller = authenticate(generation, &call, &credentials).await.result;
    let may = authorize(Arc::clone(generation), &call, Arc::clone(&first_caller), None).await.result;
    let list = proven(place, "tools/list");
    let permit = authorize(Arc::clone(generation), &list, first_caller, None).await.result.unwrap();
    [End::of(caller), End::of(may), listed(permit).await]
}

/// The end of a list that is longer than the hook decides about in one call.
async fn listed(permit: Permit) -> End {
    let tools: Vec<_> = (0..2 * MOST_ENTRIES + 1).map(|n| json!({ "name": format!("tool{n}") })).collect();
    let message = json!({ "jsonrpc": "2.0", "id": 1, "result": { "tools": tools } }).to_string();
    let filter = AnswerFilter::new(Arc::new(permit), Arc::default(), Arc::default());
    let filtered = filter.message(bytes::Bytes::from(message).into()).await.result;
    let shown = filtered.map(|answer| {
        let answer: Value = serde_json::from_slice(&answer.message).unwrap();
        answer["result"]["tools"].as_array().unwrap().len()
    });
    match shown {
        Ok(0) => End::No,
        Ok(shown) if shown == tools.len() => End::Yes,
        Ok(shown) => panic!("{shown} of {} are shown", tools.len()),
        Err(rejection) => End::of::<()>(Err(rejection)),
    }
}

#[test]
fn only_an_allowance_without_denial_or_fault_allows() {
    let setup = GenerationSetup::new();
    let (yes, other) = (Cell::new(0), Cell::new(0));
    let count = |end: &End| {
        let counter = if *end == End::Yes { &yes } else { &other };
        counter.set(counter.get() + 1);
    };
    let pipelines = prop::collection::vec(pipeline(), 24);
    let outcome = TestRunner::new(cases(6)).run(&pipelines, |mut pipelines| {
        pipelines.insert(0, vec![(Act::Yes, "yes-a".to_owned())]);
        let generation = Arc::new(RUNTIME.block_on(setup.generation(&config(&pipelines))));
        for (place, pipeline) in pipelines.iter().enumerate() {
            let [authentication, may, listed] = RUNTIME.block_on(ends(&generation, place));
            prop_assert_eq!(&authentication, &End::of_authenticators(pipeline), "who? {:?}", pipeline);
            prop_assert_eq!(&may, &End::of_authorizers(pipeline), "may? {:?}", pipeline);
            prop_assert_eq!(&listed, &may, "sees? {:?}", pipeline);
            count(&authentication);
            count(&may);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(yes.get() > 20 && other.get() > 20, "of one kind: {yes:?}, {other:?}");
}
