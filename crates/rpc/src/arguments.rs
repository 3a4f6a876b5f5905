//! A JSON value, or a text of a query string, as a parameter of a type.
//!
//! | type | accepts |
//! |---|---|
//! | boolean | booleans; strings |
//! | integers, `numeric`, floats, `money` | numbers, their text unchanged; strings |
//! | text types, base types of extensions | strings; numbers and booleans as their text |
//! | `bytea` | strings `\x` and hex digits |
//! | enums, ranges, other base types | strings |
//! | `json`, `jsonb` | anything, its text unchanged |
//! | arrays | arrays, nested ones for more dimensions; strings in PostgreSQL's array form |
//! | composites | objects whose members are columns, missing ones are null; strings in row form |
//! | domains | what the type below accepts |
//!
//! `null` is SQL NULL for every type, `json` included. What a string means is the server's to
//! say: a wrong one is error 22P02 of the call. A parameter is declared with the OID of the
//! argument's type, domains included, so that the server's own input function reads it and checks
//! the constraints of domains at every level, and no type has to be named: the caller needs no
//! USAGE on a schema that only holds the types.

mod literal;
mod query;
mod scalar;

use bytes::Bytes;
use rolegate_pg::catalog::{TypeShape, Types};
use serde_json::value::RawValue;

use crate::envelope::members::JsonType;
use crate::error::InvalidParams;
use crate::kind::{self, Kind};
use crate::resolve::Value;

/// How a parameter becomes the argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passing {
    /// It has the argument's type.
    Direct,
    /// It is JSON `{"v": VALUE}` that the server converts: arrays of a type whose array form has
    /// a separator that the catalog snapshot does not tell.
    Converted,
}

/// How values of a type are passed; depends on the type alone.
pub(crate) fn passing(types: &Types, type_oid: u32) -> Passing {
    if has_foreign_array(types, type_oid, 0) {
        Passing::Converted
    } else {
        Passing::Direct
    }
}

/// Composites can't contain themselves; the bound is for a snapshot that says otherwise.
const MOST_TYPE_LEVELS: usize = 64;

fn has_foreign_array(types: &Types, type_oid: u32, level: usize) -> bool {
    if level > MOST_TYPE_LEVELS {
        return true;
    }
    match Kind::of(types, type_oid) {
        Kind::Array(element) => {
            Kind::of(types, element) == Kind::Foreign
                || has_foreign_array(types, element, level + 1)
        }
        Kind::Composite(columns) => columns
            .iter()
            .any(|(_, column)| has_foreign_array(types, *column, level + 1)),
        _ => false,
    }
}

/// The parameter for an argument; `None` is NULL. `path` names the argument in errors.
pub(crate) fn parameter(
    types: &Types,
    type_oid: u32,
    value: &Value<'_>,
    path: &str,
) -> Result<Option<Bytes>, InvalidParams> {
    let text = match (value, passing(types, type_oid)) {
        (Value::Whole(text), _) => Some(text.as_ref().to_owned()),
        (Value::Json(raw), Passing::Direct) => literal::of_json(types, type_oid, raw, path)?,
        (Value::Json(raw), Passing::Converted) => {
            // Checked the same way, then sent as it is.
            literal::of_json(types, type_oid, raw, path)?;
            Some(wrapped(raw.get()))
        }
        (Value::Rest(rest), passing) => {
            let Kind::Array(element) = Kind::of(types, type_oid) else {
                return Err(InvalidParams::at(path, "is variadic without an array type"));
            };
            let array = literal::of_elements(types, element, rest, path)?;
            match passing {
                Passing::Direct => Some(array),
                Passing::Converted => {
                    let texts: Vec<&str> = rest.iter().map(|raw| raw.get()).collect();
                    Some(wrapped(&format!("[{}]", texts.join(","))))
                }
            }
        }
        (Value::Texts(texts), passing) => {
            let raw = query::json_of(types, type_oid, texts, path)?;
            match passing {
                Passing::Direct => literal::of_json(types, type_oid, &raw, path)?,
                Passing::Converted => {
                    literal::of_json(types, type_oid, &raw, path)?;
                    Some(wrapped(raw.get()))
                }
            }
        }
    };
    Ok(text.map(Bytes::from))
}

fn wrapped(json: &str) -> String {
    format!("{{\"v\":{json}}}")
}

/// Refuses a value of a JSON type that the SQL type does not take.
fn mismatch(types: &Types, type_oid: u32, raw: &RawValue, path: &str) -> InvalidParams {
    InvalidParams::at(
        path,
        format!(
            "is {}, which is no value for {}",
            JsonType::of(raw).described(),
            kind::display_name(types, type_oid)
        ),
    )
}

/// Whether a type is a domain declared `not null`.
pub(crate) fn refuses_null(types: &Types, type_oid: u32) -> bool {
    matches!(
        types.get(&type_oid).map(|found| &found.shape),
        Some(TypeShape::Domain { not_null: true, .. })
    )
}

#[cfg(test)]
mod tests;
