//! Plain HTTP servers for comparisons: an upstream that answers every call at once, and a reverse proxy that checks
//! nothing. They are not part of the harness, which would link all of Witgate into both.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// An answer with a complete body.
pub(crate) fn whole(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status.try_into().unwrap_or_default();
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

/// Prints its address on stdout, and answers until the process ends.
pub(crate) async fn serve<F, R, B>(listen: SocketAddr, respond: F) -> anyhow::Result<()>
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    say_where(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let respond = respond.clone();
        let service = service_fn(move |request| {
            let response = respond(request);
            async { Ok::<_, Infallible>(response.await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

#[expect(clippy::print_stdout, reason = "a program says where it listens")]
fn say_where(address: SocketAddr) {
    println!("listening http://{address}/mcp");
}
