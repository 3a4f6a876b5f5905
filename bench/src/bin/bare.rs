//! The ceiling of HTTP on this machine: an axum handler that reads the body and answers with
//! fixed JSON, without database, authentication or parsing.

use std::path::PathBuf;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Answers every GET and POST with the content of a file.
#[derive(Debug, Parser)]
struct Arguments {
    /// File with the answer.
    #[arg(long)]
    answer: PathBuf,
    /// Where the address is written once it listens.
    #[arg(long)]
    address_file: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let answer = Bytes::from(std::fs::read(&arguments.answer)?);
    let router = Router::new()
        .route("/api/{database}", post(fixed).get(fixed_get))
        .with_state(answer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    // Renamed into place, so that nobody reads half an address.
    let partial = arguments.address_file.with_extension("partial");
    std::fs::write(&partial, listener.local_addr()?.to_string())?;
    std::fs::rename(&partial, &arguments.address_file)?;
    let mut terminate = signal(SignalKind::terminate())?;
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await?;
    Ok(())
}

async fn fixed_get(State(answer): State<Bytes>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], answer)
}

async fn fixed(State(answer): State<Bytes>, _body: Bytes) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], answer)
}
