//! Explanations: of one request, and of all that a caller may do with 500 tools.

use criterion::BenchmarkId;
use http::HeaderMap;
use serde_json::{Value, json};
use witgate_flow::Arrival;
use witgate_flow::explanation::{ExplainedCaller, explain, listed};
use witgate_plugin::{TargetKind, Transport};

use super::scene::{Form, Scene};
use super::{Bench, runtime};

/// The number of tools of the upstream. The caller's roles allow three of twenty.
const TOOLS: usize = 500;

/// Measures what `witgate explain` asks for one request, and `witgate can` about 500 tools: one list, and a call of each.
pub(crate) fn one_and_five_hundred(bench: &mut Bench) {
    let runtime = runtime();
    let mut group = bench.benchmark_group("explain");
    group.sample_size(10);
    for form in Form::BOTH {
        let scene = runtime.block_on(Scene::explaining(form));
        group.bench_function(BenchmarkId::new("one request", form), |b| {
            b.to_async(&runtime).iter(|| explained(&scene, "svc03_area4_get_7"));
        });
        let names: Vec<_> =
            (0..TOOLS).map(|number| format!("svc{:02}_area4_get_{number}", number % 20)).collect();
        group.bench_function(BenchmarkId::new("500 tools", form), |b| {
            b.to_async(&runtime).iter(|| access(&scene, &names));
        });
    }
}

/// True if the owner of the key may call the tool.
async fn explained(scene: &Scene, tool: &str) -> bool {
    let arrival = arrival(scene, "tools/call", &json!({ "name": tool, "arguments": {} }));
    explain(&scene.generation, &scene.route, arrival, ExplainedCaller::Shown).await.is_allowed()
}

/// The number of tools that the owner of the key sees and may call.
async fn access(scene: &Scene, names: &[String]) -> (usize, usize) {
    let texts: Vec<_> = names.iter().map(String::as_str).collect();
    let question = (arrival(scene, "tools/list", &json!({})), ExplainedCaller::Shown);
    let seen = listed(&scene.generation, &scene.route, question, TargetKind::Tool, &texts).await.unwrap();
    let mut callable = 0;
    for name in names {
        callable += usize::from(explained(scene, name).await);
    }
    (seen.len(), callable)
}

fn arrival(scene: &Scene, method: &str, params: &Value) -> Arrival {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    Arrival {
        under_way: Default::default(),
        known: Default::default(),
        transport: Transport::Stdio,
        peer: None,
        certificate: None,
        headers: HeaderMap::new(),
        body: body.to_string().into(),
        shown: Some(scene.key()),
        session: None,
    }
}
