//! Generations never mix: one generation decides a request, also if others go live meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use witgate_flow::limit::Admitted;
use witgate_policy::generation::{Generation, Generations};

use super::RUNTIME;
use super::generation_setup::{GenerationSetup, Says, flow, send, store};

/// The number of flips of the generation.
const FLIPS: usize = 150;

/// Generations of two colours. In each, the key has the role of that colour alone, and that role alone may call `both`
/// and the tool of its colour. A caller with the role of one generation and the rights of the other may do nothing.
async fn generation(setup: &GenerationSetup, colour: &str) -> Generation {
    setup.file("keys.toml", &store(&[colour.to_owned()], &[], &[]));
    let config = format!(
        "[upstreams.up]\nown_tools = true\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['roles']\n\
         [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
         [policies.roles]\nkind = 'rbac'\nconfig = {{ roles = {{ {colour} = {{ allow = ['both', '{colour}'] }} }} }}\n"
    );
    setup.generation(&config).await
}

/// The upstream's answer: the caller's role and all the tools that there are.
fn everything(admitted: &Admitted) -> Value {
    let roles = &admitted.permit().caller().identity().roles;
    json!({ "roles": roles, "tools": [{ "name": "red" }, { "name": "blue" }, { "name": "both" }] })
}

#[test]
fn a_request_is_decided_by_one_generation_whatever_flips_meanwhile() {
    let setup = GenerationSetup::new();
    let first = RUNTIME.block_on(generation(&setup, "red"));
    let generations = Arc::new(Generations::new(first, 1));
    let flow = Arc::new(flow(Arc::clone(&generations), Says(everything)));
    let done = AtomicBool::new(false);
    let counts = std::thread::scope(|threads| {
        let callers: Vec<_> =
            (0..3).map(|_| threads.spawn(|| RUNTIME.block_on(call_until(&flow, &done)))).collect();
        for flip in 0..FLIPS {
            let colour = if flip % 2 == 0 { "blue" } else { "red" };
            generations.flip(RUNTIME.block_on(generation(&setup, colour)));
            std::thread::sleep(Duration::from_micros(50));
        }
        done.store(true, Ordering::Relaxed);
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .fold([0; 2], |[red, blue], counts| [red + counts[0], blue + counts[1]])
    });
    assert!(counts.iter().all(|requests| *requests > 100), "one colour was hardly ever live: {counts:?}");
}

/// Requests the list and calls until told to stop. Returns the number of answers of each colour.
async fn call_until(
    flow: &witgate_flow::Flow<impl witgate_flow::port::Upstream>,
    done: &AtomicBool,
) -> [u32; 2] {
    let mut counts = [0; 2];
    while !done.load(Ordering::Relaxed) {
        let called = send(flow, "tools/call", &json!({ "name": "both" })).await;
        let called = called.unwrap_or_else(|rejection| panic!("decided by two generations: {rejection:?}"));
        let red = called["result"]["roles"] == json!(["red"]);
        counts[usize::from(!red)] += 1;

        let list = send(flow, "tools/list", &json!({})).await.unwrap();
        let role = &list["result"]["roles"][0];
        let tools = &list["result"]["tools"];
        let wanted = if role == "red" { ["red", "both"] } else { ["blue", "both"] };
        let wanted = wanted.map(|name| json!({ "name": name }));
        assert_eq!(tools, &json!(wanted), "listed by another generation than the caller's");
    }
    counts
}
