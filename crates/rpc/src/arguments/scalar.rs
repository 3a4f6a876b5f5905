//! JSON values for types without parts.

use std::borrow::Cow;

use rolegate_pg::catalog::Types;
use serde_json::value::RawValue;

use super::mismatch;
use crate::envelope::members::{JsonType, string};
use crate::error::InvalidParams;
use crate::kind::Kind;

/// The text of a value that is not null.
pub(super) fn of_json(
    types: &Types,
    type_oid: u32,
    kind: Kind<'_>,
    raw: &RawValue,
    path: &str,
) -> Result<String, InvalidParams> {
    match (JsonType::of(raw), kind) {
        (JsonType::String, Kind::Bytes) => {
            let text = text(string(raw), path)?;
            // Without the prefix the server would read the bytes of the text itself, so that
            // base64 would be stored as it is and nobody told.
            if text.strip_prefix("\\x").is_none_or(|hex| !is_hex(hex)) {
                return Err(InvalidParams::at(
                    path,
                    "is not `\\x` followed by hex digits",
                ));
            }
            Ok(text.into_owned())
        }
        (JsonType::String, _) => Ok(text(string(raw), path)?.into_owned()),
        (JsonType::Boolean, Kind::Boolean | Kind::Text | Kind::Foreign)
        | (JsonType::Number, Kind::Integer | Kind::Number | Kind::Text | Kind::Foreign) => {
            Ok(raw.get().to_owned())
        }
        _ => Err(mismatch(types, type_oid, raw, path)),
    }
}

/// A string that PostgreSQL can hold.
pub(super) fn text<'t>(
    text: Option<Cow<'t, str>>,
    path: &str,
) -> Result<Cow<'t, str>, InvalidParams> {
    let text = text.ok_or_else(|| {
        InvalidParams::at(path, "is a string with an escape that is no character")
    })?;
    if text.contains('\0') {
        return Err(InvalidParams::at(
            path,
            "contains \\u0000, which PostgreSQL can't store",
        ));
    }
    Ok(text)
}

fn is_hex(text: &str) -> bool {
    text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
