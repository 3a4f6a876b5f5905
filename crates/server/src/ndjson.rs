//! Rows as they come: `application/x-ndjson`.
//!
//! The call runs as part of the answer's body: a client that goes away drops the body, and that
//! cancels the statement. An error after the first line ends the stream with a line
//! `{"error": ...}` and then breaks the transfer off, so that nobody takes half for the whole.

use std::pin::Pin;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use rolegate_pg::spool::{self, Reader};
use rolegate_rpc::Call;
use serde_json::json;

use crate::call::Session;
use crate::problem::Problem;

const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

type Running = Pin<Box<dyn Future<Output = Result<(), Problem>> + Send>>;

/// A stream that is under way.
struct Streaming {
    reader: Reader,
    /// `None` once the call has ended.
    running: Option<Running>,
    first: Option<Bytes>,
    request_id: String,
    broken: bool,
}

/// Runs the call; answers when the first rows are there, or with the error if none came.
pub(crate) async fn respond(session: Session, call: Call) -> Result<Response, Problem> {
    let (writer, reader) = spool::spool();
    let request_id = session.context.id.to_string();
    let running: Running = Box::pin(async move { session.run_streaming(call, writer).await });
    let mut streaming = Streaming {
        reader,
        running: Some(running),
        first: None,
        request_id,
        broken: false,
    };
    match streaming.next().await {
        Ok(first) => streaming.first = first,
        Err(problem) => return Err(problem),
    }
    let body = Body::from_stream(stream::unfold(streaming, step));
    Ok(([(header::CONTENT_TYPE, LINES)], body).into_response())
}

impl Streaming {
    /// The next rows; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let Some(running) = &mut self.running else {
                // The call has ended well, what is left is in the buffer.
                return self.reader.next().await.map_err(|_| broken_off());
            };
            tokio::select! {
                biased;
                chunk = self.reader.next() => {
                    if let Ok(Some(chunk)) = chunk {
                        return Ok(Some(chunk));
                    }
                    // The writer is finished or gone; the call's own outcome says which.
                    let outcome = running.await;
                    self.running = None;
                    outcome?;
                    return Ok(None);
                },
                outcome = &mut *running => {
                    self.running = None;
                    outcome?;
                }
            }
        }
    }
}

async fn step(mut streaming: Streaming) -> Option<(std::io::Result<Bytes>, Streaming)> {
    if let Some(first) = streaming.first.take() {
        return Some((Ok(first), streaming));
    }
    if streaming.broken {
        return Some((Err(std::io::Error::other("the call failed")), streaming));
    }
    match streaming.next().await {
        Ok(Some(chunk)) => Some((Ok(chunk), streaming)),
        Ok(None) => None,
        Err(problem) => {
            let line = json!({ "error": problem.to_problem_json(&streaming.request_id) });
            streaming.broken = true;
            Some((Ok(format!("{line}\n").into()), streaming))
        }
    }
}

fn broken_off() -> Problem {
    Problem::new(rolegate_model::ErrorCode::Internal)
}
