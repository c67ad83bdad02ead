//! A call to an HTTP upstream with and without a credential of the configuration.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use criterion::BatchSize;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::Full;
use tokio_util::sync::CancellationToken;
use tower::Service;
use witgate_base::signing::Signer;
use witgate_config::credentials::{CredentialSettings, EqualSecret, OutboundSource, Retrieval};
use witgate_credentials::registry::OutboundCredentials;
use witgate_credentials::upstream_credential::UpstreamCredential;
use witgate_flow::Flow;
use witgate_policy::generation::Generations;
use witgate_runtime::metrics::Metrics;
use witgate_testing::keys::PRIVATE;
use witgate_upstream::http::{HttpUpstream, Outgoing};

use crate::flow::arrival;
use crate::scene::{Form, Scene};
use crate::{Bench, runtime};

const KEYS: &str = "kind = 'api-key'\nconfig = { store = 'keys.toml' }\n";

/// Measures a call up to a service in this program, which answers at once. The token is at hand.
pub(crate) fn on_a_call(bench: &mut Bench) {
    let runtime = runtime();
    let _within = runtime.enter();
    let upstream = "url = 'http://127.0.0.1:9/mcp'\neras = ['stateless']";
    let scene = runtime.block_on(Scene::before(upstream, Form::Native, KEYS));
    let mut group = bench.benchmark_group("call to an HTTP upstream");
    for (name, source) in
        [("without a credential", None), ("static", Some(secret())), ("token", Some(signed()))]
    {
        let credential = source.map(|source| credential(&scene, source));
        if let Some(credential) = &credential {
            runtime.block_on(credential.add_to(&mut HeaderMap::new(), None)).unwrap();
        }
        let flow = flow(&scene, Generations::new(runtime.block_on(scene.renewed()), 1), credential);
        let arrival = arrival(&scene);
        group.bench_function(name, |b| {
            b.to_async(&runtime).iter_batched(
                &arrival,
                async |arrival| flow.handle(arrival).await.unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
}

fn flow(
    scene: &Scene,
    generations: Generations,
    credential: Option<Arc<UpstreamCredential>>,
) -> Flow<HttpUpstream> {
    let uri = "http://127.0.0.1:9/mcp".parse().unwrap();
    let upstream = HttpUpstream::of_service(ImmediateService, uri, Duration::from_secs(5));
    let upstream = upstream.with_eras(scene.config.upstreams[0].eras).with_credential(credential);
    let (route, stop) = (Arc::clone(&scene.route), CancellationToken::new());
    Flow::new(route, upstream, Arc::new(generations), &Metrics::default(), stop)
}

fn credential(scene: &Scene, source: OutboundSource) -> Arc<UpstreamCredential> {
    let (name, prefix) = ("a".into(), "Bearer ".to_owned());
    let settings = CredentialSettings { name, header: AUTHORIZATION, prefix, source };
    let credentials = OutboundCredentials::new(Arc::clone(scene.factory.ways()));
    credentials.with(&Arc::new(settings)).unwrap()
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

/// A service that answers every request with the empty result of a call.
#[derive(Clone)]
struct ImmediateService;

impl Service<Outgoing> for ImmediateService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Outgoing) -> Self::Future {
        let body = br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
        let mut response = Response::new(Full::new(Bytes::from_static(body)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        ready(Ok(response))
    }
}
