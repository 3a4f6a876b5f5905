//! `GET /v1/openapi.json`: the admin API described, from the table its router is made of.

use std::collections::BTreeMap;

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{describe as schema, rpc};
use crate::router::ADMIN_ENDPOINTS;

pub(crate) async fn handle() -> Response {
    let mut response = rpc::json(StatusCode::OK, document().to_string().into());
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    response
}

/// The whole document.
pub(crate) fn document() -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for endpoint in ADMIN_ENDPOINTS {
        paths
            .entry(endpoint.path)
            .or_default()
            .insert(endpoint.method.to_ascii_lowercase(), (endpoint.describe)());
    }
    let mut schemas = Map::new();
    schemas.insert("Problem".to_owned(), problem());
    schemas.insert("Scopes".to_owned(), scopes_schema());
    schemas.insert("Batch".to_owned(), super::batches::schema());
    for (name, schema) in super::jobs::schema::schemas() {
        schemas.insert(name.to_owned(), schema);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rolegate admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every request runs as the caller's own PostgreSQL role.",
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas,
        },
    })
}

pub(crate) fn describe() -> Value {
    json!({
        "operationId": "openapi",
        "summary": "This document",
        "security": [],
        "responses": {"200": schema::answer("An OpenAPI 3.1 document", &json!({"type": "object"}))},
    })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string", "description": "Stable; each has a page in the docs."},
            "path": {"type": "string", "description": "The part of the request it is about."},
            "hint": {"type": "string"},
            "sqlstate": {"type": "string"},
            "request_id": {"type": "string"},
        },
    })
}

fn scopes_schema() -> Value {
    json!({
        "type": "object",
        "description": "What a token is narrowed to. A list that is absent narrows nothing.",
        "additionalProperties": false,
        "properties": {
            "functions": {
                "type": "array", "items": {"type": "string"},
                "description": "`schema.function`; a `*` at the end is allowed.",
            },
            "surfaces": {"type": "array", "items": {"enum": ["calls", "events", "query", "admin"]}},
        },
    })
}
