//! Benchmarks of the hooks, in processor time of the thread that runs them: other work on the machine does not count.
//!
//! `cargo bench -p witgate` runs them after `cargo xtask guests`. `docs/performance.md` has the figures and their
//! meaning.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench stops at what is wrong")]

mod cpu_time;
mod credentials;
mod flow;
mod fresh;
mod immediate_upstream;
mod passwords;
mod questions;
mod scene;
mod search;
mod tokens;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tokio::runtime::{Builder, Runtime};

use cpu_time::CpuTime;
use scene::{Form, Scene, Shape};

type Bench = Criterion<CpuTime>;

/// A runtime on one thread: the one that is measured.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Measures an API key of 100 and RBAC of 20 roles with 5 patterns. The caller has three roles.
fn together_and_singly(bench: &mut Bench) {
    let runtime = runtime();
    let mut group = bench.benchmark_group("key-and-rbac");
    for form in Form::BOTH {
        let scene = runtime.block_on(Scene::with_keys(form));
        let request = scene.request(Shape::default());
        let (shown, caller) = (scene.key(), runtime.block_on(scene.caller(&request)));
        group.bench_function(BenchmarkId::new("both", form), |b| {
            b.to_async(&runtime).iter(|| scene.judge(&request, &shown));
        });
        group.bench_function(BenchmarkId::new("authenticate", form), |b| {
            b.to_async(&runtime).iter(|| scene.authenticate(&request, &shown));
        });
        group.bench_function(BenchmarkId::new("authorize", form), |b| {
            b.to_async(&runtime).iter(|| scene.authorize(&request, &caller));
        });
    }
}

/// Checks that headers and arguments cost nothing unless a policy reads them.
fn flatness(bench: &mut Bench) {
    let runtime = runtime();
    let scene = runtime.block_on(Scene::with_keys(Form::Component));
    let shown = scene.key();
    let mut group = bench.benchmark_group("flat");
    for (headers, arguments) in [(5, 512), (20, 512), (80, 512), (5, 10 << 10), (5, 100 << 10)] {
        let request = scene.request(Shape { headers, arguments });
        group.bench_function(format!("{headers} headers, {arguments} bytes"), |b| {
            b.to_async(&runtime).iter(|| scene.judge(&request, &shown));
        });
    }
}

fn criterion() -> Bench {
    // The number of samples keeps the whole run within minutes on a slow machine.
    Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1500))
        .without_plots()
}

criterion_group! {
    name = hooks;
    config = criterion();
    targets = together_and_singly, flatness, tokens::first_sight_and_again, passwords::remembered, fresh::an_instance_per_call,
        flow::parse, search::credentials, flow::whole, credentials::on_a_call,
        questions::one_and_five_hundred
}
criterion_main!(hooks);
