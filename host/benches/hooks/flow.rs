//! The strict parse, and the whole way of a call up to an upstream that answers at once.

use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Throughput};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, empty};
use http::HeaderValue;
use tokio_util::sync::CancellationToken;
use witgate_flow::event::Event;
use witgate_flow::limit::Admitted;
use witgate_flow::port::{Answer, AnswerBody, SessionRequest, Upstream};
use witgate_flow::reject::Rejection;
use witgate_flow::{Arrival, Flow};
use witgate_message::call::Call;
use witgate_plugin::Transport;
use witgate_policy::generation::Generations;
use witgate_runtime::metrics::Metrics;

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

/// From the parsed HTTP request to the answer's bytes, without a network and with no log.
pub(crate) fn whole(bench: &mut Bench) {
    let runtime = runtime();
    let mut group = bench.benchmark_group("flow");
    for form in Form::BOTH {
        let scene = runtime.block_on(Scene::with_keys(form));
        let generations = Generations::new(runtime.block_on(scene.renewed()), 1);
        let stop = CancellationToken::new();
        let flow =
            Flow::new(Arc::clone(&scene.route), AtOnce, Arc::new(generations), &Metrics::default(), stop);
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

fn arrival(scene: &Scene) -> impl Fn() -> Arrival {
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

struct AtOnce;

impl Upstream for AtOnce {
    async fn forward(&self, _: Admitted) -> Result<Answer, Rejection> {
        let message = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#);
        Ok(Answer { session: None, body: AnswerBody::message(message) })
    }

    async fn listen(&self, _: SessionRequest) -> Result<BoxStream<'static, Event>, Rejection> {
        Ok(empty().boxed())
    }

    async fn close(&self, _: SessionRequest) -> Result<(), Rejection> {
        Ok(())
    }

    async fn shut_down(&self) {}
}
