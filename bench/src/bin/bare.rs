//! The ceiling of HTTP on this machine: an axum handler that reads the body and answers with
//! fixed JSON, without database, authentication or parsing. Under `/same` the answer has given
//! headers too, because a client has to read them.

use std::path::PathBuf;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
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
    /// File with the header lines of the answers under `/same`.
    #[arg(long)]
    headers: Option<PathBuf>,
    /// Where the address is written once it listens.
    #[arg(long)]
    address_file: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let answer = Bytes::from(std::fs::read(&arguments.answer)?);
    let mut headers = HeaderMap::new();
    if let Some(file) = &arguments.headers {
        for line in std::fs::read_to_string(file)?.lines() {
            let (name, value) = line.split_once(": ").ok_or("a header line has a colon")?;
            headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
    }
    let router = Router::new()
        .route("/api/{database}", post(fixed).get(fixed_get))
        .route("/same/{database}", post(same).get(same_get))
        .with_state(Answer {
            body: answer,
            headers,
        });
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

#[derive(Debug, Clone)]
struct Answer {
    body: Bytes,
    headers: HeaderMap,
}

async fn fixed_get(State(answer): State<Answer>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], answer.body)
}

async fn fixed(State(answer): State<Answer>, _body: Bytes) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], answer.body)
}

async fn same_get(State(answer): State<Answer>) -> impl IntoResponse {
    (answer.headers, answer.body)
}

async fn same(State(answer): State<Answer>, _body: Bytes) -> impl IntoResponse {
    (answer.headers, answer.body)
}
