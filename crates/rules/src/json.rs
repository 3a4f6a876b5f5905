//! Payloads to values and back.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::fault::{Budget, Reason};
use crate::value::{Double, Key, Value};

/// Bytes of a payload that rules look at, and of one that they make.
pub const MAX_PAYLOAD: usize = 256 * 1024;
/// Levels of either.
const MAX_DEPTH: usize = 64;

/// Reads a payload. Numbers beyond whole ones of 64 bits keep their text.
pub(crate) fn read(text: &str) -> Result<Value, Reason> {
    if text.len() > MAX_PAYLOAD {
        return Err(Reason::TooLarge);
    }
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| Reason::Malformed)?;
    value(raw, 1)
}

fn value(raw: &RawValue, depth: usize) -> Result<Value, Reason> {
    // Each level is looked through again: so there are not many.
    if depth > MAX_DEPTH {
        return Err(Reason::TooDeep);
    }
    let text = raw.get();
    let malformed = |_| Reason::Malformed;
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            // Of two members with one name the last counts, as in PostgreSQL.
            let members: BTreeMap<String, &RawValue> =
                serde_json::from_str(text).map_err(malformed)?;
            let entries: Result<_, Reason> = members
                .into_iter()
                .map(|(name, raw)| Ok((Key::String(name.into()), value(raw, depth + 1)?)))
                .collect();
            Value::Map(Arc::new(entries?))
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(malformed)?;
            let values: Result<Vec<Value>, Reason> = elements
                .into_iter()
                .map(|raw| value(raw, depth + 1))
                .collect();
            values?.into()
        }
        Some(b'"') => {
            let text: String = serde_json::from_str(text).map_err(malformed)?;
            Value::String(text.into())
        }
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') => Value::Null,
        _ => match text.parse() {
            // Negative zero is a double: it has a sign.
            Ok(int) if text != "-0" => Value::Int(int),
            _ => Value::Double(Double {
                value: text.parse().map_err(|_| Reason::Malformed)?,
                text: Some(text.into()),
            }),
        },
    })
}

/// Writes a value.
pub(crate) fn write(value: &Value, budget: &mut Budget) -> Result<String, Reason> {
    let mut text = String::new();
    append(value, 1, &mut text, budget)?;
    Ok(text)
}

fn append(
    value: &Value,
    depth: usize,
    text: &mut String,
    budget: &mut Budget,
) -> Result<(), Reason> {
    budget.charge(1)?;
    if depth > MAX_DEPTH {
        return Err(Reason::TooDeep);
    }
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Int(int) => write!(text, "{int}").map_err(|_| Reason::NotJson)?,
        Value::Double(Double {
            text: Some(written),
            ..
        }) => text.push_str(written),
        Value::Double(double) => {
            let number = serde_json::Number::from_f64(double.value).ok_or(Reason::NotJson)?;
            write!(text, "{number}").map_err(|_| Reason::NotJson)?;
        }
        Value::String(string) => quote(string, text, budget)?,
        Value::List(values) => {
            text.push('[');
            for (nth, value) in values.iter().enumerate() {
                if nth > 0 {
                    text.push(',');
                }
                append(value, depth + 1, text, budget)?;
            }
            text.push(']');
        }
        Value::Map(entries) => {
            text.push('{');
            for (nth, (key, value)) in entries.iter().enumerate() {
                if nth > 0 {
                    text.push(',');
                }
                let Key::String(name) = key else {
                    return Err(Reason::NotJson);
                };
                quote(name, text, budget)?;
                text.push(':');
                append(value, depth + 1, text, budget)?;
            }
            text.push('}');
        }
        Value::Type(_) => return Err(Reason::NotJson),
    }
    if text.len() > MAX_PAYLOAD {
        return Err(Reason::TooLarge);
    }
    Ok(())
}

fn quote(string: &str, text: &mut String, budget: &mut Budget) -> Result<(), Reason> {
    budget.charge_text(string.len())?;
    let quoted = serde_json::to_string(string).map_err(|_| Reason::NotJson)?;
    text.push_str(&quoted);
    Ok(())
}
