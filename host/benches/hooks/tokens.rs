//! Tokens: the first use of a token, which checks the signature, and later ones, which find it in the cache.

use std::sync::Arc;
use std::time::Duration;

use criterion::BenchmarkId;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use witgate_flow::authenticate::authenticate;
use witgate_message::credential::Credentials;
use witgate_plugin::Scheme;

use crate::scene::{Form, HELD, RESOURCE, SECRET, Scene, Shape};
use crate::{Bench, cpu_time, runtime};

/// Tokens that a generation gets before a new generation with empty caches replaces it.
const SET: usize = 500;

/// The keys of the tables of cases. They protect nothing.
#[derive(Deserialize)]
struct Tables {
    keys: toml::Table,
    signers: toml::Table,
}

pub(crate) fn first_sight_and_again(bench: &mut Bench) {
    let tables: Tables = toml::from_str(include_str!("../../../tests/cases/jwt.toml")).unwrap();
    let public = |name: &str| format!("pem = '''{}'''", tables.keys[name]["pem"].as_str().unwrap());
    let private = |name: &str| tables.signers[name]["pem"].as_str().unwrap().as_bytes();
    let secret = EncodingKey::from_secret(SECRET.as_bytes()).unwrap();
    let rsa = EncodingKey::from_rsa_pem(private("rs256")).unwrap();
    let ec = EncodingKey::from_ec_pem(private("es256")).unwrap();
    one(bench, Algorithm::HS256, &secret, "secret = { env = 'BENCH_SECRET' }");
    one(bench, Algorithm::RS256, &rsa, &public("rsa"));
    one(bench, Algorithm::ES256, &ec, &public("ec"));
}

fn one(bench: &mut Bench, algorithm: Algorithm, signing: &EncodingKey, key: &str) {
    let runtime = runtime();
    let shown: Vec<_> = (0..SET).map(|n| token(algorithm, signing, n)).collect();
    let name = format!("{algorithm:?}");
    let mut group = bench.benchmark_group(format!("jwt-{name}"));
    for form in Form::BOTH {
        let scene = runtime.block_on(Scene::with_tokens(form, &name, key));
        group.bench_function(BenchmarkId::new("first sight", form), |b| {
            b.iter_custom(|times| runtime.block_on(first_sights(&scene, &shown, times)));
        });
        let request = scene.request(Shape::default());
        group.bench_function(BenchmarkId::new("seen before", form), |b| {
            b.to_async(&runtime).iter(|| scene.authenticate(&request, &shown[0]));
        });
        group.bench_function(BenchmarkId::new("seen before, and rbac", form), |b| {
            b.to_async(&runtime).iter(|| scene.judge(&request, &shown[0]));
        });
    }
}

/// Measures first uses of tokens, without the time for making generations.
async fn first_sights(scene: &Scene, shown: &[Credentials], times: u64) -> Duration {
    let request = scene.request(Shape::default());
    let (mut left, mut spent) = (usize::try_from(times).unwrap(), Duration::ZERO);
    while left > 0 {
        let generation = Arc::new(scene.renewed().await);
        let set = &shown[..left.min(SET)];
        let start = cpu_time::now();
        for shown in set {
            authenticate(&generation, &request, shown).await.result.unwrap();
        }
        spent += cpu_time::now() - start;
        left -= set.len();
    }
    spent
}

fn token(algorithm: Algorithm, signing: &EncodingKey, n: usize) -> Credentials {
    let claims = json!({
        "iss": "https://idp.example.com", "aud": RESOURCE, "sub": format!("user-{n}"), "exp": 4_000_000_000_u64,
        "iat": 1_700_000_000, "roles": HELD, "scope": "mcp:tools mcp:resources",
    });
    let token = encode(&Header::new(algorithm), &claims, signing).unwrap();
    let mut shown = Credentials::default();
    shown.add(Scheme::Bearer, None, SecretString::from(token));
    shown
}
