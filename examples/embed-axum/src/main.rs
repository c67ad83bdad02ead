//! A web application with pages, and an MCP endpoint behind Witgate's pipeline.

mod mcp;
mod notes;

use axum::Router;
use axum::routing::{get, post};
use notes::Notes;
use tokio::net::TcpListener;
use witgate::embed::{self, Guard};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    embed::compile_if_asked();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();

    let notes = Notes::default();
    let guard = Guard::from_config("witgate.toml").await?;
    let guarded = guard.protect(post(mcp::answer).with_state(notes.clone()));

    let pages = Router::new().route("/", get(notes::page)).with_state(notes);
    let app = guarded.paths().fold(pages, |app, path| app.route_service(path, guarded.clone()));
    let listener = TcpListener::bind(guard.listen()).await?;
    axum::serve(listener, app).with_graceful_shutdown(guard.stop_on(embed::told_to_stop())).await?;
    guard.shut_down().await;
    Ok(())
}
