//! Texts of a query string, as the JSON value they stand for.

use rolegate_pg::catalog::{TypeShape, Types};
use serde_json::value::{RawValue, to_raw_value};

use crate::error::InvalidParams;
use crate::kind::{self, Kind};

/// One text is a string, for `json` JSON text, for a composite an object or a row, for an array
/// PostgreSQL's array form (`{1,2}`) or its only element. Several texts are an array.
pub(super) fn json_of(
    types: &Types,
    type_oid: u32,
    texts: &[String],
    path: &str,
) -> Result<Box<RawValue>, InvalidParams> {
    let kind = Kind::of(types, type_oid);
    match (kind, texts) {
        (Kind::Json, [text]) => parsed(text, path),
        (Kind::Composite(_), [text]) if text.trim_start().starts_with('{') => parsed(text, path),
        (Kind::Array(_), [text]) if text.starts_with('{') || text.starts_with('[') => {
            // A JSON array of objects is an array too; what is no JSON is the array form.
            match parsed(text, path) {
                Ok(array) if text.starts_with('[') => Ok(array),
                _ => raw(text),
            }
        }
        (Kind::Array(element), texts) => {
            let is_json = matches!(
                types
                    .get(&kind::base(types, element))
                    .map(|found| &found.shape),
                Some(TypeShape::Json)
            );
            let elements: Vec<Box<RawValue>> = texts
                .iter()
                .map(|text| {
                    if is_json {
                        parsed(text, path)
                    } else {
                        raw(text)
                    }
                })
                .collect::<Result<_, _>>()?;
            to_raw_value(&elements).map_err(|_| InvalidParams::at(path, "is not valid"))
        }
        (_, [text]) => raw(text),
        _ => Err(InvalidParams::at(
            path,
            "is given several times and is no array",
        )),
    }
}

fn parsed(text: &str, path: &str) -> Result<Box<RawValue>, InvalidParams> {
    RawValue::from_string(text.to_owned())
        .map_err(|_| InvalidParams::at(path, "is not valid JSON text"))
}

fn raw(text: &str) -> Result<Box<RawValue>, InvalidParams> {
    to_raw_value(text).map_err(|_| InvalidParams::new("a query value is no valid text"))
}
