//! One log event and one metric for every request.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;

use crate::metrics::{HTTP_REQUESTS, HTTP_SECONDS};
use crate::request::RequestContext;

/// Middleware: logs and counts.
pub(crate) async fn record(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let context = request.extensions().get::<RequestContext>().cloned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let elapsed = start.elapsed();
    let status = response.status();
    // Paths are the clients' words; only routes are labels.
    let route = route
        .as_ref()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    metrics::histogram!(HTTP_SECONDS, "route" => route.clone()).record(elapsed);
    metrics::counter!(
        HTTP_REQUESTS, "route" => route, "method" => method.as_str().to_owned(),
        "status" => status.as_str().to_owned()
    )
    .increment(1);
    if let Some(context) = context {
        let milliseconds = elapsed.as_secs_f64() * 1000.0;
        let peer = context.peer.map(tracing::field::display);
        if status.is_server_error() {
            tracing::info!(
                request_id = %context.id, %method, path = %context.path, status = status.as_u16(),
                milliseconds, peer, "request"
            );
        } else {
            tracing::debug!(
                request_id = %context.id, %method, path = %context.path, status = status.as_u16(),
                milliseconds, peer, "request"
            );
        }
    }
    response
}
