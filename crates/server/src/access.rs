//! One log event and one metric for every request.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::Method;

use crate::metrics::{HTTP_REQUESTS, HTTP_SECONDS};
use crate::request::RequestContext;

/// What has to be known of a request when its answer is there.
#[derive(Debug)]
pub(crate) struct Arrival {
    start: Instant,
    route: Option<MatchedPath>,
    method: Method,
}

impl Arrival {
    /// A request that has just arrived.
    pub(crate) fn of(request: &Request) -> Self {
        Self {
            start: Instant::now(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            method: request.method().clone(),
        }
    }

    /// Logs and counts.
    pub(crate) fn record(
        self,
        surface: &'static str,
        context: &RequestContext,
        response: &Response,
    ) {
        let Self {
            start,
            route,
            method,
        } = self;
        let elapsed = start.elapsed();
        let status = response.status();
        // Paths are the clients' words; only routes are labels.
        let route = route
            .as_ref()
            .map_or("none", MatchedPath::as_str)
            .to_owned();
        metrics::histogram!(HTTP_SECONDS, "surface" => surface, "route" => route.clone())
            .record(elapsed);
        metrics::counter!(
            HTTP_REQUESTS, "surface" => surface, "route" => route,
            "method" => method.as_str().to_owned(), "status" => status.as_str().to_owned()
        )
        .increment(1);
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
}
