//! The sizes of the futures of a request. Each is a part of the memory of a running call, and is moved where it is
//! made.

use std::sync::Arc;

use http::Request;
use http_body_util::Full;
use tokio::runtime::Builder;
use witgate_flow::authenticate::authenticate;
use witgate_flow::authorize::authorize;
use witgate_flow::body::Inflow;
use witgate_server::http::{Gateway, Sender};

use crate::scene::{Form, Scene, Shape};
use crate::scenes::{any_upstream, arrival, call, flow, generations};

/// The futures by name, with their sizes in bytes.
pub(crate) fn all() -> Vec<(&'static str, u64)> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let scene = runtime.block_on(Scene::with_keys(Form::Native));
    let upstream = runtime.block_on(async { any_upstream(&scene) });
    let generations = generations(&scene, &runtime);
    let flow = flow(&scene, &generations, upstream);
    let (request, shown) = (scene.request(Shape::default()), scene.key());
    let caller = runtime.block_on(scene.caller(&request));
    let generation = Arc::clone(&scene.generation);
    let mut sizes = vec![
        ("size of Flow::handle", bytes(&flow.handle(arrival(call())))),
        ("size of authenticate", bytes(&authenticate(&generation, &request, &shown))),
        ("size of authorize", bytes(&authorize(Arc::clone(&generation), &request, caller, None))),
    ];
    let gateway = Gateway::new(&scene.config, [flow], generations);
    let over_http = Request::new(Inflow::here(Full::new(call().1)));
    let response = gateway.respond_within(&scene.config.upstreams[0].path, over_http, Sender::default());
    sizes.push(("size of Gateway::respond", bytes(&response)));
    sizes
}

fn bytes<T>(future: &T) -> u64 {
    size_of_val(future) as u64
}
