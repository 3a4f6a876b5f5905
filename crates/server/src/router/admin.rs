//! The admin API: what the console surface has besides the gateway's routes.

use axum::routing::{MethodRouter, delete, get, patch, post, put};
use serde_json::Value;

use super::App;
use crate::routes::{
    admin_openapi, batches, cron, dead_letters, jobs, kinds, overview, queues, tokens, workers,
};

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

impl AdminEndpoint {
    pub(super) fn router(&self) -> MethodRouter<App> {
        (self.handler)()
    }
}

/// `METHOD function "path" => module`, which has a `handle` and a `describe`.
macro_rules! endpoints {
    ($($method:literal $function:ident $path:literal => $($module:ident)::+;)*) => {
        &[$(AdminEndpoint {
            method: $method,
            path: $path,
            describe: $($module)::+::describe,
            handler: || $function($($module)::+::handle),
        }),*]
    };
}

/// All of them. The security matrix in the tests has a row for each.
pub const ADMIN_ENDPOINTS: &[AdminEndpoint] = endpoints! {
    "POST" post "/v1/{database}/tokens" => tokens::mint;
    "GET" get "/v1/{database}/tokens" => tokens::list;
    "DELETE" delete "/v1/{database}/tokens/{token_id}" => tokens::revoke;

    "GET" get "/v1/{database}/jobs" => jobs::list;
    "POST" post "/v1/{database}/jobs" => jobs::enqueue;
    "GET" get "/v1/{database}/jobs/events" => jobs::events;
    "POST" post "/v1/{database}/jobs/bulk-retry" => jobs::bulk_retry;
    "POST" post "/v1/{database}/jobs/bulk-cancel" => jobs::bulk_cancel;
    "GET" get "/v1/{database}/jobs/{id}" => jobs::show;
    "POST" post "/v1/{database}/jobs/{id}/retry" => jobs::retry;
    "POST" post "/v1/{database}/jobs/{id}/cancel" => jobs::cancel;

    "GET" get "/v1/{database}/jobs/batches" => batches::list;
    "POST" post "/v1/{database}/jobs/batches" => batches::submit;
    "POST" post "/v1/{database}/jobs/batches/preview" => batches::preview;
    "GET" get "/v1/{database}/jobs/batches/{id}" => batches::show;
    "POST" post "/v1/{database}/jobs/batches/{id}/stop" => batches::stop;
    "GET" get "/v1/{database}/kinds" => kinds;

    "GET" get "/v1/{database}/queues" => queues::list;
    "GET" get "/v1/{database}/queues/{queue}" => queues::show;
    "PUT" put "/v1/{database}/queues/{queue}" => queues::make;
    "PATCH" patch "/v1/{database}/queues/{queue}" => queues::change;
    "POST" post "/v1/{database}/queues/{queue}/pause" => queues::pause;
    "POST" post "/v1/{database}/queues/{queue}/resume" => queues::resume;
    "POST" post "/v1/{database}/queues/{queue}/drain" => queues::drain;

    "GET" get "/v1/{database}/dlq" => dead_letters::list;
    "GET" get "/v1/{database}/dlq/depth" => dead_letters::depth;
    "POST" post "/v1/{database}/dlq/bulk-retry" => dead_letters::bulk_retry;
    "POST" post "/v1/{database}/dlq/bulk-purge" => dead_letters::bulk_purge;
    "GET" get "/v1/{database}/dlq/{id}" => dead_letters::show;
    "DELETE" delete "/v1/{database}/dlq/{id}" => dead_letters::purge;
    "POST" post "/v1/{database}/dlq/{id}/retry" => dead_letters::retry;

    "GET" get "/v1/{database}/cron" => cron::list;
    "POST" post "/v1/{database}/cron/{name}/trigger" => cron::trigger;
    "POST" post "/v1/{database}/cron/{name}/pause" => cron::pause;
    "POST" post "/v1/{database}/cron/{name}/resume" => cron::resume;
    "DELETE" delete "/v1/{database}/cron/{name}" => cron::remove;

    "GET" get "/v1/{database}/workers" => workers;
    "GET" get "/v1/{database}/stats" => overview;

    "GET" get "/v1/openapi.json" => admin_openapi;
};
