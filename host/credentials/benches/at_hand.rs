//! The time that a credential at hand adds to a call.

#![expect(clippy::unwrap_used, reason = "a bench stops at what is wrong")]

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use witgate_base::party::Principal;
use witgate_base::signing::Signer;
use witgate_config::credentials::{CredentialSettings, EqualSecret, OutboundSource, Retrieval};
use witgate_credentials::caller_token::CallerToken;
use witgate_credentials::registry::OutboundCredentials;
use witgate_credentials::upstream_credential::UpstreamCredential;
use witgate_services::network::Ways;
use witgate_testing::keys::PRIVATE;

fn credential(source: OutboundSource) -> Arc<UpstreamCredential> {
    let (name, prefix) = ("a".into(), "Bearer ".to_owned());
    let settings = CredentialSettings { name, header: AUTHORIZATION, prefix, source };
    OutboundCredentials::new(Ways::closed()).with(&Arc::new(settings)).unwrap()
}

fn secret() -> OutboundSource {
    OutboundSource::Static(Retrieval::Secret(EqualSecret("sesame".to_owned().into())))
}

fn signed() -> OutboundSource {
    let issuer = "https://witgate.example.com";
    OutboundSource::Signed {
        signer: Arc::new(Signer::new(issuer.to_owned(), &PRIVATE.into()).unwrap()),
        issuer: issuer.into(),
        audience: "https://upstream.example.com".to_owned(),
        subject: "witgate".into(),
        lifetime: Duration::from_secs(86_400),
    }
}

fn at_hand(bench: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let mut group = bench.benchmark_group("credential at hand");
    for (name, source) in [("static", secret()), ("token", signed())] {
        let credential = credential(source);
        let mut headers = HeaderMap::with_capacity(16);
        runtime.block_on(credential.add_to(&mut headers, None)).unwrap();
        group.bench_function(name, |b| {
            b.iter(|| credential.add_to(&mut headers, None).now_or_never().unwrap().unwrap());
        });
    }
    // What an exchange adds for each call, besides the look-up: the token of the caller.
    let token = "x".repeat(1024);
    group.bench_function("token of a caller", |b| {
        b.iter(|| CallerToken::new(Principal::new("idp".into(), None, "ada"), &token));
    });
    group.finish();
}

criterion_group!(benches, at_hand);
criterion_main!(benches);
