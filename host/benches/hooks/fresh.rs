//! An instance for each call: made, configured, called once, discarded. The pool makes one only when more calls run at
//! once than ever before.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use criterion::BenchmarkId;
use witgate_base::clock::Clock;
use witgate_base::provenance::Provenance;
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::grants::GrantedInterfaces;
use witgate_component::instance::PreparedComponent;
use witgate_component::load::Loader;
use witgate_component::pool::Pool;
use witgate_config::{Isolation, Limits};
use witgate_flow::subject::CallSubject;
use witgate_plugin::{Call, Principal, TargetKind, Transport};
use witgate_services::keys::Keyring;
use witgate_services::verdicts::VerdictMemory;
use witgate_services::{Scope, Services};

use crate::scene::{Form, HELD, Scene, Shape, TOOL, component, roles};
use crate::{Bench, runtime};

pub(crate) fn an_instance_per_call(bench: &mut Bench) {
    let runtime = runtime();
    let scene = runtime.block_on(Scene::with_keys(Form::Native));
    let request = scene.request(Shape::default());
    let caller = runtime.block_on(scene.caller(&request));
    let subject = CallSubject::new(request, Some(caller));
    let scope = Scope::new(Arc::new(subject), false, None);
    let mut group = bench.benchmark_group("fresh");
    let all = roles(|name, patterns| format!(r#""{name}": {{"allow": {patterns}}}"#));
    let few = r#""role15": {"allow": ["svc15_area4_get_*"]}"#.to_owned();
    for (name, roles) in [("1 role", few), ("20 roles", all)] {
        let config = format!(r#"{{"roles": {{{roles}}}}}"#);
        let prepared = runtime.block_on(prepared());
        group.bench_function(BenchmarkId::new("rbac", name), |b| {
            b.to_async(&runtime).iter(|| one_call(prepared.clone(), config.clone(), &scope));
        });
    }
}

async fn prepared() -> PreparedComponent {
    let engine = Engine::new().unwrap();
    let loader = Loader::new(engine.clone(), Compiler::Within, None);
    let loaded = loader.load(&component("rbac"), &Provenance::default()).await.unwrap();
    let services = Services {
        policy: "may".into(),
        wants: OnceLock::new(),
        keys: Keyring::new(HashMap::new()),
        secrets: HashMap::new(),
        cache: None,
        passwords: Arc::default(),
        password_cost: witgate_basic::hash::RECOMMENDED,
        user_store: None,
        verdicts: VerdictMemory::default(),
        fetcher: None,
        clock: Clock::System,
        scopes: std::collections::BTreeSet::new(),
        witness: None,
        replay: None,
    };
    PreparedComponent::new(
        &engine,
        &loaded,
        GrantedInterfaces::default(),
        Arc::new(services),
        Limits::default(),
    )
    .unwrap()
}

async fn one_call(prepared: PreparedComponent, config: String, scope: &Scope) {
    let (pool, _) = Pool::configure(prepared, config, false, Isolation::PerCall).await.unwrap();
    let roles = HELD.map(str::to_owned);
    let call = Call {
        method: "tools/call",
        kind: TargetKind::Tool,
        target: TOOL,
        transport: Transport::Http,
        listing: false,
    };
    let principal = Principal { subject: "key050", proven_by: "who", roles: &roles, scopes: &[] };
    Arc::new(pool).authorize(scope, &call, &principal).await.unwrap();
}
