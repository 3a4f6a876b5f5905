//! The table of contents: every route of the gateway and of the console.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post};
use http::{HeaderName, HeaderValue, Method, header};
use rolegate_model::ErrorCode;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate as _};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::access;
use crate::config::GatewayConfig;
use crate::database::Database;
use crate::problem::Problem;
use crate::request::{self, RequestContext, VisibleHeaders};
use crate::routes;

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    databases: HashMap<String, Arc<Database>>,
    config: GatewayConfig,
    stop: CancellationToken,
}

impl App {
    /// The gateway for these databases. Streams end at `stop`.
    pub fn new(
        databases: Vec<Arc<Database>>,
        config: GatewayConfig,
        stop: CancellationToken,
    ) -> Self {
        let databases = databases
            .into_iter()
            .map(|database| (database.name().to_owned(), database))
            .collect();
        Self(Arc::new(Inner {
            databases,
            config,
            stop,
        }))
    }

    /// A configured database; nothing else is ever connected to.
    pub(crate) fn database(&self, name: &str) -> Result<&Arc<Database>, Problem> {
        self.0
            .databases
            .get(name)
            .ok_or_else(|| Problem::new(ErrorCode::DatabaseUnknown))
    }

    pub(crate) fn databases(&self) -> impl Iterator<Item = &Arc<Database>> {
        self.0.databases.values()
    }

    pub(crate) fn config(&self) -> &GatewayConfig {
        &self.0.config
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }
}

/// Routes of the gateway surface. The security matrix in the tests has a row for each.
pub const GATEWAY_ROUTES: &[(&str, &str)] = &[
    ("POST", "/api/{database}"),
    ("POST", "/api/{database}/login"),
    ("GET", "/api/{database}/openapi.json"),
    ("GET", "/api/{database}/openrpc.json"),
    ("GET", "/api/{database}/events"),
    ("GET", "/api/{database}/{method}"),
    ("POST", "/api/{database}/{method}"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/.well-known/oauth-protected-resource"),
];

/// An endpoint of the admin API. Routes and the OpenAPI document are made of the same list.
#[derive(Debug)]
pub struct AdminEndpoint {
    /// HTTP method.
    pub method: &'static str,
    /// Path, with its variable parts in braces.
    pub path: &'static str,
    /// Its operation in the OpenAPI document.
    pub(crate) describe: fn() -> Value,
    handler: fn() -> MethodRouter<App>,
}

/// The admin API: what the console surface has besides the gateway's routes.
pub const ADMIN_ENDPOINTS: &[AdminEndpoint] = &[
    AdminEndpoint {
        method: "POST",
        path: "/v1/{database}/tokens",
        describe: routes::tokens::mint::describe,
        handler: || post(routes::tokens::mint::handle),
    },
    AdminEndpoint {
        method: "GET",
        path: "/v1/{database}/tokens",
        describe: routes::tokens::list::describe,
        handler: || get(routes::tokens::list::handle),
    },
    AdminEndpoint {
        method: "DELETE",
        path: "/v1/{database}/tokens/{token_id}",
        describe: routes::tokens::revoke::describe,
        handler: || delete(routes::tokens::revoke::handle),
    },
    AdminEndpoint {
        method: "GET",
        path: "/v1/openapi.json",
        describe: routes::admin_openapi::describe,
        handler: || get(routes::admin_openapi::handle),
    },
];

/// The gateway surface.
pub fn gateway(app: App) -> Router {
    let cors = cors(&app.config().allowed_origins);
    surface(gateway_routes(), app, cors)
}

/// The console surface: the admin API, and the gateway's routes beside it, so that a browser
/// needs no second origin. That is why none is allowed, whatever the gateway allows.
pub fn console(app: App) -> Router {
    let admin = ADMIN_ENDPOINTS
        .iter()
        .fold(Router::new(), |router, endpoint| {
            router.route(endpoint.path, (endpoint.handler)())
        });
    surface(gateway_routes().merge(admin), app, cors(&[]))
}

fn gateway_routes() -> Router<App> {
    Router::new()
        .route("/api/{database}", post(routes::rpc::handle))
        .route("/api/{database}/login", post(routes::login::handle))
        .route(
            "/api/{database}/openapi.json",
            get(routes::openapi::openapi),
        )
        .route(
            "/api/{database}/openrpc.json",
            get(routes::openapi::openrpc),
        )
        .route("/api/{database}/events", get(routes::events::handle))
        .route(
            "/api/{database}/{method}",
            get(routes::method::get).post(routes::method::post),
        )
        .route("/.well-known/jwks.json", get(routes::well_known::jwks))
        .route(
            "/.well-known/oauth-protected-resource",
            get(routes::well_known::protected_resource),
        )
}

/// What every surface has around its routes.
fn surface(routes: Router<App>, app: App, cors: CorsLayer) -> Router {
    let visible = VisibleHeaders::new(&app.config().visible_headers);
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(
            CompressionLayer::new().compress_when(
                DefaultPredicate::new()
                    // Compressed streams would wait for more before they send anything.
                    .and(NotForContentType::const_new("application/x-ndjson"))
                    .and(NotForContentType::SSE),
            ),
        )
        .layer(cors)
        .layer(from_fn(security_headers))
        .layer(from_fn(access::record))
        .layer(from_fn(move |request: Request, next: Next| {
            request::contextualize(visible.clone(), request, next)
        }))
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
            request::REQUEST_ID,
        ])
        .expose_headers([
            header::ALLOW,
            header::ETAG,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            HeaderName::from_static("idempotency-replayed"),
            request::REQUEST_ID,
        ])
}

async fn security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn not_found(context: axum::Extension<RequestContext>) -> Response {
    Problem::new(ErrorCode::NotFound).into_response_for(&context)
}

async fn method_not_allowed(context: axum::Extension<RequestContext>) -> Response {
    Problem::new(ErrorCode::MethodNotAllowed).into_response_for(&context)
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
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
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_problem_that_says_nothing_of_it() {
        let response = panicked(Box::new("secret"));
        assert_eq!(response.status(), http::StatusCode::INTERNAL_SERVER_ERROR);
        let kind = &response.headers()[header::CONTENT_TYPE];
        assert_eq!(kind, "application/problem+json");
        let body = response.into_body().collect().await.expect("a body");
        let body: Value = serde_json::from_slice(&body.to_bytes()).expect("JSON");
        assert_eq!(body["code"], "internal");
        assert!(!body.to_string().contains("secret"));
        assert_eq!(body.get("request_id"), None);
    }
}
