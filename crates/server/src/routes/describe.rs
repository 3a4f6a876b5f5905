//! Pieces of which the endpoints of the admin API describe themselves in OpenAPI.

use rolegate_model::ErrorCode;
use serde_json::{Map, Value, json};

use crate::problem::Problem;

/// The path's database.
pub(crate) fn database() -> Value {
    json!({"name": "database", "in": "path", "required": true, "schema": {"type": "string"},
           "description": "The name the database has in the configuration."})
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
