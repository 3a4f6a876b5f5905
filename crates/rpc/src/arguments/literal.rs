//! JSON values in the text forms that PostgreSQL's input functions read.

use rolegate_pg::catalog::Types;
use serde_json::value::RawValue;

use super::{mismatch, scalar};
use crate::envelope::members::{JsonType, Members, string};
use crate::error::{InvalidParams, shortened};
use crate::kind::{self, Kind};

/// Dimensions that an array can have (`MAXDIM`).
const MOST_DIMENSIONS: usize = 6;

/// The text form; `None` is NULL.
pub(super) fn of_json(
    types: &Types,
    type_oid: u32,
    raw: &RawValue,
    path: &str,
) -> Result<Option<String>, InvalidParams> {
    let json = JsonType::of(raw);
    if json == JsonType::Null {
        return Ok(None);
    }
    match (Kind::of(types, type_oid), json) {
        (Kind::Json, _) => Ok(Some(raw.get().to_owned())),
        (Kind::Array(element), JsonType::Array) => {
            let elements = elements(raw, path)?;
            array(types, element, &elements, path, 1).map(Some)
        }
        (Kind::Composite(columns), JsonType::Object) => row(types, columns, raw, path).map(Some),
        (Kind::Array(_) | Kind::Composite(_), JsonType::String) => {
            scalar::text(string(raw), path).map(|text| Some(text.into_owned()))
        }
        (Kind::Array(_) | Kind::Composite(_), _) => Err(mismatch(types, type_oid, raw, path)),
        (kind, _) => scalar::of_json(types, type_oid, kind, raw, path).map(Some),
    }
}

/// An array of the given elements.
pub(super) fn of_elements(
    types: &Types,
    element: u32,
    elements: &[&RawValue],
    path: &str,
) -> Result<String, InvalidParams> {
    array(types, element, elements, path, 1)
}

fn elements<'r>(raw: &'r RawValue, path: &str) -> Result<Vec<&'r RawValue>, InvalidParams> {
    serde_json::from_str(raw.get()).map_err(|_| InvalidParams::at(path, "is not valid JSON"))
}

/// `{"1","2",NULL}`: every element is quoted, so that none can be read as anything else.
fn array(
    types: &Types,
    element: u32,
    values: &[&RawValue],
    path: &str,
    dimension: usize,
) -> Result<String, InvalidParams> {
    if dimension > MOST_DIMENSIONS {
        return Err(InvalidParams::at(
            path,
            format!("has more than {MOST_DIMENSIONS} dimensions"),
        ));
    }
    // The only built-in type with another separator.
    let separator = if kind::base(types, element) == kind::oid::BOX {
        ';'
    } else {
        ','
    };
    // Arrays of these take a JSON array as an element.
    let nests = !matches!(Kind::of(types, element), Kind::Json | Kind::Array(_));
    let mut text = String::from("{");
    for (index, raw) in values.iter().enumerate() {
        if index > 0 {
            text.push(separator);
        }
        let path = format!("{path}[{index}]");
        if nests && JsonType::of(raw) == JsonType::Array {
            let inner = elements(raw, &path)?;
            text.push_str(&array(types, element, &inner, &path, dimension + 1)?);
            continue;
        }
        match of_json(types, element, raw, &path)? {
            None => text.push_str("NULL"),
            Some(value) => {
                text.push('"');
                for c in value.chars() {
                    if matches!(c, '"' | '\\') {
                        text.push('\\');
                    }
                    text.push(c);
                }
                text.push('"');
            }
        }
    }
    text.push('}');
    Ok(text)
}

/// `("1",,"x")`: every value is quoted, a null is nothing.
fn row(
    types: &Types,
    columns: &[(String, u32)],
    raw: &RawValue,
    path: &str,
) -> Result<String, InvalidParams> {
    let members =
        Members::of(raw).map_err(|_| InvalidParams::at(path, "has an invalid member name"))?;
    if let Some(name) = members.repeated() {
        return Err(InvalidParams::at(
            path,
            format!("has `{}` twice", shortened(name)),
        ));
    }
    let known = |name: &str| columns.iter().any(|(column, _)| column == name);
    if let Some((name, _)) = members.0.iter().find(|(name, _)| !known(name)) {
        return Err(InvalidParams::at(
            path,
            format!("has no member `{}`", shortened(name)),
        ));
    }
    let mut text = String::from("(");
    for (index, (column, type_oid)) in columns.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let Some(raw) = members.get(column) else {
            continue;
        };
        let Some(value) = of_json(types, *type_oid, raw, &format!("{path}.{column}"))? else {
            continue;
        };
        text.push('"');
        for c in value.chars() {
            // A quote is doubled and so is a backslash.
            if matches!(c, '"' | '\\') {
                text.push(c);
            }
            text.push(c);
        }
        text.push('"');
    }
    text.push(')');
    Ok(text)
}
