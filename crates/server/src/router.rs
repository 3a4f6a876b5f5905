//! The table of contents: every route of the gateway, and in `admin` what the console has besides.

mod admin;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use rolegate_model::ErrorCode;
use tokio_util::sync::CancellationToken;

use crate::config::GatewayConfig;
use crate::database::Database;
use crate::problem::Problem;
use crate::request::{RequestContext, VisibleHeaders};
use crate::routes;
use crate::surface::Surface;

pub use admin::{ADMIN_ENDPOINTS, AdminEndpoint};

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
    ("POST", "/query"),
    ("GET", "/query"),
    ("POST", "/query/explain"),
    ("GET", "/q/{hash}/{version}"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/.well-known/oauth-protected-resource"),
];

/// The gateway surface.
pub fn gateway(app: App) -> Router {
    let origins = app.config().allowed_origins.clone();
    surface("gateway", gateway_routes(), app, &origins)
}

/// The console surface: the admin API, and the gateway's routes beside it, so that a browser
/// needs no second origin. That is why none is allowed, whatever the gateway allows.
pub fn console(app: App) -> Router {
    let admin = ADMIN_ENDPOINTS
        .iter()
        .fold(Router::new(), |router, endpoint| {
            router.route(endpoint.path, endpoint.router())
        });
    surface("console", gateway_routes().merge(admin), app, &[])
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
        .route("/query", get(routes::query::get).post(routes::query::post))
        .route("/query/explain", post(routes::query_explain::post))
        .route("/q/{hash}/{version}", get(routes::cursor::get))
        .route("/.well-known/jwks.json", get(routes::well_known::jwks))
        .route(
            "/.well-known/oauth-protected-resource",
            get(routes::well_known::protected_resource),
        )
}

/// The routes with their state, and what every surface has around them.
fn surface(name: &'static str, routes: Router<App>, app: App, origins: &[String]) -> Router {
    let visible = VisibleHeaders::new(&app.config().visible_headers);
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app)
        .layer(Surface::new(name, visible, origins))
}

async fn not_found(context: axum::Extension<RequestContext>) -> Response {
    Problem::new(ErrorCode::NotFound).into_response_for(&context)
}

async fn method_not_allowed(context: axum::Extension<RequestContext>) -> Response {
    Problem::new(ErrorCode::MethodNotAllowed).into_response_for(&context)
}
