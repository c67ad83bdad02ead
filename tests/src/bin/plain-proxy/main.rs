//! A reverse proxy that checks nothing: its cost is that of any proxy on hyper, for comparison with Witgate.

mod plain;

use std::net::SocketAddr;

use clap::Parser;
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use plain::{serve, whole};

/// A reverse proxy that checks nothing.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address to serve HTTP on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The target of every request.
    #[arg(long)]
    upstream: Uri,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { listen, upstream } = Arguments::parse();
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    serve(listen, move |request| pass_on(client.clone(), upstream.clone(), request)).await
}

async fn pass_on(
    client: Client<HttpConnector, Incoming>,
    upstream: Uri,
    mut request: Request<Incoming>,
) -> Response<Either<Incoming, Full<Bytes>>> {
    *request.uri_mut() = upstream;
    request.headers_mut().remove(HOST);
    request.headers_mut().remove(CONNECTION);
    match client.request(request).await {
        Ok(response) => response.map(Either::Left),
        Err(_) => whole(502, "").map(Either::Right),
    }
}
