//! One log event and one metric for every request.

use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::{Method, StatusCode};
use metrics::{Counter, Histogram};

use crate::metrics::{HTTP_REQUESTS, HTTP_SECONDS};
use crate::request::RequestContext;

/// Methods are the clients' words too: those that nobody has standardized are one label.
fn label_of(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "TRACE" => "TRACE",
        "CONNECT" => "CONNECT",
        _ => "other",
    }
}

/// The metrics of a route. Those of usual answers are kept, because finding one by its labels
/// takes longer than counting.
#[derive(Debug)]
pub(crate) struct Meters {
    surface: &'static str,
    known: RwLock<Vec<Meter>>,
}

/// Meters kept for a route: of a few methods and statuses. Methods are the clients' words.
const MOST: usize = 16;

#[derive(Debug, Clone)]
struct Meter {
    route: Option<MatchedPath>,
    method: Method,
    status: StatusCode,
    seconds: Histogram,
    requests: Counter,
}

impl Meter {
    fn new(
        surface: &'static str,
        route: Option<MatchedPath>,
        method: Method,
        status: StatusCode,
    ) -> Self {
        // Paths are the clients' words; only routes are labels.
        let label = route
            .as_ref()
            .map_or("none", MatchedPath::as_str)
            .to_owned();
        Self {
            seconds: metrics::histogram!(
                HTTP_SECONDS, "surface" => surface, "route" => label.clone()
            ),
            requests: metrics::counter!(
                HTTP_REQUESTS, "surface" => surface, "route" => label,
                "method" => label_of(&method), "status" => status.as_str().to_owned()
            ),
            route,
            method,
            status,
        }
    }

    fn is_of(&self, route: Option<&MatchedPath>, method: &Method, status: StatusCode) -> bool {
        self.status == status
            && self.method == *method
            && self.route.as_ref().map(MatchedPath::as_str) == route.map(MatchedPath::as_str)
    }

    fn count(&self, elapsed: Duration) {
        self.seconds.record(elapsed);
        self.requests.increment(1);
    }
}

impl Meters {
    /// Those of a route of this surface, none of them used yet.
    pub(crate) fn of(surface: &'static str) -> Self {
        Self {
            surface,
            known: RwLock::default(),
        }
    }

    fn count(
        &self,
        route: Option<MatchedPath>,
        method: &Method,
        status: StatusCode,
        elapsed: Duration,
    ) {
        let meters = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let known = meters
            .iter()
            .find(|meter| meter.is_of(route.as_ref(), method, status));
        if let Some(meter) = known {
            return meter.count(elapsed);
        }
        drop(meters);
        let meter = Meter::new(self.surface, route, method.clone(), status);
        meter.count(elapsed);
        let mut meters = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // One that came in between is kept twice, which does no harm: they count the same.
        if meters.len() < MOST {
            meters.push(meter);
        }
    }
}

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
    pub(crate) fn record(self, meters: &Meters, context: &RequestContext, response: &Response) {
        let Self {
            start,
            route,
            method,
        } = self;
        let elapsed = start.elapsed();
        let status = response.status();
        meters.count(route, &method, status, elapsed);
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
