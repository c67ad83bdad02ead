//! An MCP server made with rmcp, behind Witgate's pipeline.

mod tools;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use rmcp::transport::streamable_http_server::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use tokio::net::TcpListener;
use tools::Tools;
use witgate::embed::{self, Guard};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    embed::compile_if_asked();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();

    let guard = Guard::from_config("witgate.toml").await?;
    let sessions = LocalSessionManager::default().into();
    let mcp = StreamableHttpService::new(|| Ok(Tools), sessions, Default::default());
    let guarded = guard.protect(mcp).with_peer(|parts| Some(parts.get::<ConnectInfo<SocketAddr>>()?.ip()));

    let app = guarded.paths().fold(Router::new(), |app, path| app.route_service(path, guarded.clone()));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind(guard.listen()).await?;
    axum::serve(listener, app).with_graceful_shutdown(guard.stop_on(embed::told_to_stop())).await?;
    guard.shut_down().await;
    Ok(())
}
