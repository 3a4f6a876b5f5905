//! What an answer for everybody is found by.

use bytes::Bytes;
use rolegate_query::encode::Format;
use serde_json::{Value, json};

use super::super::{Decision, Scope, Wanted, kept};

/// The hash in its address, and what went into it; null if it has none.
pub(super) fn of(decision: &Decision, wanted: &Wanted, format: Format) -> Value {
    if decision.scope != Scope::Public {
        return Value::Null;
    }
    let database = decision.session.database.name();
    let text = |param: &Bytes| String::from_utf8_lossy(param).into_owned();
    let params = wanted.params.iter();
    let params: Vec<Option<String>> = params.map(|param| param.as_ref().map(text)).collect();
    json!({
        "hash": kept::hash(database, wanted, format).to_string(),
        "of": {
            "database": database,
            "format": format.media_type(),
            "sql": wanted.sql,
            "params": params,
        },
    })
}
