//! What every surface has around its routes.
//!
//! One service with everything in it: axum boxes each layer by itself and clones the whole stack
//! for each request, and what all requests have in common is most of what a small one costs.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use rolegate_model::ErrorCode;
use tower::{Layer, Service, service_fn};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{
    And, DefaultPredicate, NotForContentType, Predicate as _,
};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::access::{Arrival, Meters};
use crate::problem::Problem;
use crate::request::{self, VisibleHeaders};

/// The layer around each route: context, log and metric, CORS, compression, panics.
#[derive(Debug, Clone)]
pub(crate) struct Surface(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    /// What the metrics call it.
    name: &'static str,
    visible: VisibleHeaders,
    cors: CorsLayer,
    /// What CORS adds to every answer to a request without an origin. `None` if it can't be said
    /// beforehand.
    without_origin: Option<HeaderMap>,
}

impl Surface {
    /// The surface of this name: functions see the `visible` headers, and browsers may call from
    /// `origins`.
    pub(crate) fn new(name: &'static str, visible: VisibleHeaders, origins: &[String]) -> Self {
        let cors = cors(origins);
        Self(Arc::new(Rules {
            name,
            visible,
            without_origin: without_origin(&cors, origins),
            cors,
        }))
    }
}

impl<S> Layer<S> for Surface {
    type Service = Surrounded<S>;

    fn layer(&self, inner: S) -> Surrounded<S> {
        Surrounded {
            inner,
            place: Arc::new(Place {
                rules: Arc::clone(&self.0),
                meters: Meters::of(self.0.name),
            }),
        }
    }
}

/// A route with everything around it.
#[derive(Debug, Clone)]
pub(crate) struct Surrounded<S> {
    inner: S,
    place: Arc<Place>,
}

/// What belongs to one route.
#[derive(Debug)]
struct Place {
    rules: Arc<Rules>,
    meters: Meters,
}

impl<S> Service<Request> for Surrounded<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let place = Arc::clone(&self.place);
        let rules = &place.rules;
        let context = request::contextualize(&rules.visible, &mut request);
        let arrival = Arrival::of(&request);
        let plain = request.method() != Method::OPTIONS
            && !request.headers().contains_key(header::ORIGIN)
            && rules.without_origin.is_some();
        let answer = if plain {
            Either::Left(inside(&mut self.inner, request))
        } else {
            let mut route = self.inner.clone();
            let mut cors = rules
                .cors
                .layer(service_fn(move |request| inside(&mut route, request)));
            Either::Right(cors.call(request).boxed())
        };
        Box::pin(async move {
            let mut response = match answer.await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let headers = response.headers_mut();
            if plain && let Some(added) = &place.rules.without_origin {
                allow(headers, added);
            }
            secure(headers);
            arrival.record(&place.meters, &context, &response);
            request::identify(&context, response.headers_mut());
            Ok(response)
        })
    }
}

/// The answer of a route, or of its panic, compressed if that is wanted.
fn inside<S>(
    route: &mut S,
    request: Request,
) -> impl Future<Output = Result<Response, Infallible>> + Send + use<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    let accepted = accepted(request.headers());
    let answer = catch_unwind(AssertUnwindSafe(|| route.call(request)));
    async move {
        let answered = match answer {
            Ok(answer) => AssertUnwindSafe(answer).catch_unwind().await,
            Err(panic) => Err(panic),
        };
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => panicked(panic),
        };
        match accepted {
            Some(accepted) => compressed(accepted, response).await,
            None => Ok(varying(response)),
        }
    }
}

/// What is worth compressing.
fn compressible() -> And<And<DefaultPredicate, NotForContentType>, NotForContentType> {
    DefaultPredicate::new()
        // Compressed streams would wait for more before they send anything.
        .and(NotForContentType::const_new("application/x-ndjson"))
        .and(NotForContentType::SSE)
}

/// The headers of the request that say which compression its answer may have.
fn accepted(headers: &HeaderMap) -> Option<HeaderMap> {
    if !headers.contains_key(header::ACCEPT_ENCODING) {
        return None;
    }
    let mut accepted = HeaderMap::new();
    for value in headers.get_all(header::ACCEPT_ENCODING) {
        accepted.append(header::ACCEPT_ENCODING, value.clone());
    }
    Some(accepted)
}

/// The response as a client gets it that accepts these encodings.
fn compressed(
    accepted: HeaderMap,
    response: Response,
) -> BoxFuture<'static, Result<Response, Infallible>> {
    let mut request = Request::new(Body::empty());
    *request.headers_mut() = accepted;
    let mut response = Some(response);
    let mut compression = CompressionLayer::new()
        .compress_when(compressible())
        .layer(service_fn(move |_: Request| {
            ready(Ok::<_, Infallible>(response.take().unwrap_or_default()))
        }));
    let compressed = compression.call(request);
    async move {
        compressed
            .await
            .map(|response| weakened(response.map(Body::new)))
    }
    .boxed()
}

/// Compressed it has other bytes, and a strong tag would say that it has the same.
fn weakened(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let weak = headers
        .get(header::ETAG)
        .filter(|tag| {
            headers.contains_key(header::CONTENT_ENCODING) && tag.as_bytes().starts_with(b"\"")
        })
        .and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok());
    if let Some(weak) = weak {
        headers.insert(header::ETAG, weak);
    }
    response
}

/// The response as a client gets it that says nothing about encodings: as it is, but caches learn
/// that others get another one.
fn varying(mut response: Response) -> Response {
    let headers = response.headers();
    if headers.contains_key(header::CONTENT_ENCODING)
        || headers.contains_key(header::CONTENT_RANGE)
        || !compressible().should_compress(&response)
    {
        return response;
    }
    let headers = response.headers_mut();
    let said = headers.get_all(header::VARY).iter().any(|value| {
        let name = header::ACCEPT_ENCODING.as_str().as_bytes();
        let mut parts = value.as_bytes().windows(name.len());
        parts.any(|part| part.eq_ignore_ascii_case(name))
    });
    if !said {
        headers.append(header::VARY, header::ACCEPT_ENCODING.into());
    }
    response
}

/// Closed unless origins are listed. Tokens travel in a header, never in cookies, so credentials
/// in the sense of CORS are not allowed in any case.
fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok())
        .collect();
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins)
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("prefer"),
            HeaderName::from_static("rolegate-atomic"),
            HeaderName::from_static("rolegate-min-lsn"),
            HeaderName::from_static("rolegate-txid"),
            request::REQUEST_ID,
        ])
        .expose_headers([
            header::ALLOW,
            header::CONTENT_LOCATION,
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            HeaderName::from_static("idempotency-replayed"),
            HeaderName::from_static("rolegate-lsn"),
            HeaderName::from_static("rolegate-scope"),
            HeaderName::from_static("rolegate-txid"),
            request::REQUEST_ID,
        ])
}

/// What the layer adds to an empty answer to a request without an origin, as far as it means anything there:
/// which headers may be read counts where an origin is allowed, and where none ever is, answers do not differ.
fn without_origin(cors: &CorsLayer, origins: &[String]) -> Option<HeaderMap> {
    if origins.is_empty() {
        return Some(HeaderMap::new());
    }
    let empty =
        |_: Request| -> Ready<Result<Response, Infallible>> { ready(Ok(Response::default())) };
    let answer = cors.layer(service_fn(empty)).call(Request::default());
    let Ok(response) = answer.now_or_never()?;
    let mut headers = response.into_parts().0.headers;
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
    }
    Some(headers)
}

/// Adds headers of CORS as its layer does.
fn allow(headers: &mut HeaderMap, added: &HeaderMap) {
    for (name, value) in added {
        if name == header::VARY {
            headers.append(header::VARY, value.clone());
        } else {
            headers.insert(name.clone(), value.clone());
        }
    }
}

fn secure(headers: &mut HeaderMap) {
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

#[expect(clippy::needless_pass_by_value, reason = "what a panic is")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    tracing::error!(panic = text, "handler_panicked");
    Problem::new(ErrorCode::Internal).into_anonymous_response()
}

#[cfg(test)]
mod tests;
