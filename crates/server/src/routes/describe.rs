//! Pieces of which the endpoints of the admin API describe themselves in OpenAPI.

use rolegate_model::ErrorCode;
use serde_json::{Map, Value, json};

use crate::problem::Problem;

/// The path's database.
pub(crate) fn database() -> Value {
    json!({"name": "database", "in": "path", "required": true, "schema": {"type": "string"},
           "description": "The name the database has in the configuration."})
}

/// Of what decides about one job.
pub(crate) const DECISIONS: &[ErrorCode] = &[
    ErrorCode::InvalidParams,
    ErrorCode::NotFound,
    ErrorCode::JobConflict,
    ErrorCode::DeadlineExceeded,
    ErrorCode::BodyTooLarge,
    ErrorCode::UnsupportedMediaType,
];

/// Of what decides about several.
pub(crate) const BULK_DECISIONS: &[ErrorCode] = &[
    ErrorCode::InvalidParams,
    ErrorCode::DeadlineExceeded,
    ErrorCode::BodyTooLarge,
    ErrorCode::UnsupportedMediaType,
];

/// The path's job.
pub(crate) fn job_id() -> Value {
    json!({"name": "id", "in": "path", "required": true,
           "schema": {"type": "integer", "format": "int64", "minimum": 1}})
}

/// A name in the path.
pub(crate) fn name(parameter: &str, text: &str) -> Value {
    json!({"name": parameter, "in": "path", "required": true,
           "schema": {"type": "string", "minLength": 1}, "description": text})
}

/// A JSON body.
pub(crate) fn body(schema: &Value, required: bool) -> Value {
    json!({"required": required, "content": {"application/json": {"schema": schema}}})
}

/// One of the document's schemas.
pub(crate) fn schema(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// A list of them.
pub(crate) fn list(schema: &Value) -> Value {
    json!({"type": "array", "items": schema})
}

pub(crate) fn int64() -> Value {
    json!({"type": "integer", "format": "int64"})
}

pub(crate) fn uuid() -> Value {
    json!({"type": "string", "format": "uuid"})
}

pub(crate) fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

pub(crate) fn time_or_null() -> Value {
    json!({"type": ["string", "null"], "format": "date-time"})
}

pub(crate) fn scopes() -> Value {
    json!({"$ref": "#/components/schemas/Scopes"})
}

/// An object that has all of these properties.
pub(crate) fn object(properties: &Value) -> Value {
    let required: Vec<&String> = properties
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .collect();
    json!({"type": "object", "required": required, "properties": properties})
}

/// A JSON answer.
pub(crate) fn answer(description: &str, schema: &Value) -> Value {
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

/// `good` answers, those every endpoint with a caller has, and those with these codes.
pub(crate) fn responses(good: &Value, codes: &[ErrorCode]) -> Value {
    const EVERYWHERE: [ErrorCode; 5] = [
        ErrorCode::CredentialMissing,
        ErrorCode::PermissionDenied,
        ErrorCode::DatabaseUnknown,
        ErrorCode::BudgetExceeded,
        ErrorCode::DatabaseUnavailable,
    ];
    let mut responses = good.as_object().cloned().unwrap_or_default();
    for code in EVERYWHERE.iter().chain(codes) {
        let status = Problem::new(*code).status.as_u16().to_string();
        responses.entry(status).or_insert_with(|| {
            json!({
                "description": code.title(),
                "content": {"application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                }},
            })
        });
    }
    Value::Object(responses)
}
