//! The strict parser, and the whole path of a call up to an upstream that answers at once.

use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Throughput};
use http::HeaderValue;
use tokio_util::sync::CancellationToken;
use witgate_flow::{Arrival, Flow};
use witgate_message::call::Call;
use witgate_plugin::Transport;
use witgate_policy::generation::Generations;
use witgate_runtime::metrics::Metrics;

use crate::immediate_upstream::ImmediateUpstream;
use crate::scene::{Form, Scene, Shape, body, headers};
use crate::{Bench, runtime};

pub(crate) fn parse(bench: &mut Bench) {
    let mut group = bench.benchmark_group("parse");
    for size in [512, 10 << 10, 100 << 10] {
        let body = body(size);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("{size} bytes"), |b| b.iter(|| Call::parse(body.clone()).unwrap()));
    }
}

/// Measures from the parsed HTTP request to the bytes of the answer, without a network and without a log.
pub(crate) fn whole(bench: &mut Bench) {
    let runtime = runtime();
    let mut group = bench.benchmark_group("flow");
    for form in Form::BOTH {
        let scene = runtime.block_on(Scene::with_keys(form));
        let generations = Generations::new(runtime.block_on(scene.renewed()), 1);
        let stop = CancellationToken::new();
        let flow = Flow::new(
            Arc::clone(&scene.route),
            ImmediateUpstream::empty(),
            Arc::new(generations),
            &Metrics::default(),
            stop,
        );
        let arrival = arrival(&scene);
        group.bench_function(BenchmarkId::new("tools call", form), |b| {
            b.to_async(&runtime).iter_batched(
                &arrival,
                async |arrival| flow.handle(arrival).await.unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
}

/// Makes the call of the scene's caller, as it arrives over HTTP.
pub(crate) fn arrival(scene: &Scene) -> impl Fn() -> Arrival + use<> {
    let mut headers = headers(Shape::default().headers);
    headers.insert("x-api-key", HeaderValue::from_str(scene.key_text()).unwrap());
    let body = body(Shape::default().arguments);
    move || Arrival {
        under_way: Default::default(),
        known: Default::default(),
        transport: Transport::Http,
        peer: Some([127, 0, 0, 1].into()),
        certificate: None,
        headers: headers.clone(),
        body: body.clone(),
        shown: None,
        session: None,
    }
}
