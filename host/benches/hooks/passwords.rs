//! User names and passwords: a login that is remembered, by the memory of verdicts and by that of passwords.

use std::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use criterion::BenchmarkId;
use secrecy::SecretString;
use witgate_base::breaker::CallerDigest;
use witgate_message::credential::Credentials;
use witgate_plugin::Scheme;
use witgate_services::passwords::PasswordChecks;

use crate::scene::{Form, PASSWORD, PASSWORD_HASH, Scene, Shape};
use crate::{Bench, runtime};

pub(crate) fn remembered(bench: &mut Bench) {
    let runtime = runtime();
    let mut group = bench.benchmark_group("basic");
    let mut shown = Credentials::default();
    let text = STANDARD.encode(format!("user-7:{PASSWORD}"));
    shown.add(Scheme::Basic, None, SecretString::from(text));
    for form in Form::BOTH {
        let scene = runtime.block_on(Scene::with_users(form));
        let request = scene.request(Shape::default());
        group.bench_function(BenchmarkId::new("remembered verdict", form), |b| {
            b.to_async(&runtime).iter(|| scene.authenticate(&request, &shown));
        });
    }
    let (checks, source) = (PasswordChecks::default(), CallerDigest::of_peer(None));
    group.bench_function("remembered password", |b| {
        b.to_async(&runtime).iter(|| async {
            let checked = checks.check(black_box(PASSWORD_HASH), black_box(PASSWORD), source, None).await;
            assert!(checked.unwrap().is_right);
        });
    });
}
