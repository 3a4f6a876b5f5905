//! Which of several fitting overloads suits the JSON types best.

use std::cmp::Reverse;
use std::sync::Arc;

use rolegate_pg::catalog::{ArgumentMode, Function, Snapshot, Types};
use serde_json::value::RawValue;

use super::fit::Value;
use super::takes_whole_params;
use crate::envelope::members::{JsonType, string};
use crate::kind::Kind;

/// Compared from left to right: fits by names, points, few arguments left out.
type Rank = (bool, u32, Reverse<usize>);

/// A function with its values.
type Fitting<'s, 'p> = (&'s Arc<Function>, Vec<Option<Value<'p>>>);

/// Points of a value for a type; `None` if it can't be one.
type Points = Option<u32>;

/// The type that the JSON type means.
const EXACT: Points = Some(3);
/// A type that holds it without loss.
const CLOSE: Points = Some(2);
/// A type that may take it.
const POSSIBLE: Points = Some(1);

/// The best of the overloads whose types can take the values; several if they are equal.
pub(super) fn best<'s, 'p>(
    snapshot: &Snapshot,
    fitting: Vec<Fitting<'s, 'p>>,
) -> Vec<Fitting<'s, 'p>> {
    let mut ranked: Vec<(Rank, Fitting<'s, 'p>)> = fitting
        .into_iter()
        .filter_map(|(function, values)| {
            let mut points = 0;
            let mut omitted = 0;
            for (argument, value) in function.arguments.iter().zip(&values) {
                match value {
                    None if argument.mode == ArgumentMode::Out => {}
                    None | Some(Value::Rest([])) => omitted += 1,
                    Some(value) => points += points_of(snapshot.types(), argument.type_oid, value)?,
                }
            }
            let by_names = !takes_whole_params(snapshot, function);
            Some(((by_names, points, Reverse(omitted)), (function, values)))
        })
        .collect();
    let Some(top) = ranked.iter().map(|(rank, _)| *rank).max() else {
        return Vec::new();
    };
    ranked.retain(|(rank, _)| *rank == top);
    ranked.into_iter().map(|(_, fitting)| fitting).collect()
}

fn points_of(types: &Types, type_oid: u32, value: &Value<'_>) -> Points {
    match value {
        Value::Json(raw) => json_points(types, type_oid, raw),
        Value::Whole(_) => POSSIBLE,
        Value::Texts(texts) => match (Kind::of(types, type_oid), texts.len()) {
            (Kind::Array(_), 1) => POSSIBLE,
            (Kind::Array(_), _) => EXACT,
            (_, 1) => POSSIBLE,
            _ => None,
        },
        Value::Rest(rest) => {
            let Kind::Array(element) = Kind::of(types, type_oid) else {
                return None;
            };
            // Like PostgreSQL, an overload that names each argument is preferred to a variadic one.
            rest.iter()
                .map(|raw| json_points(types, element, raw))
                .try_fold(2, |lowest, points| points.map(|points| lowest.min(points)))
        }
    }
}

fn json_points(types: &Types, type_oid: u32, raw: &RawValue) -> Points {
    let kind = Kind::of(types, type_oid);
    match (JsonType::of(raw), kind) {
        // Null says nothing about the type.
        (JsonType::Null, _) => POSSIBLE,
        (_, Kind::Void | Kind::Record | Kind::Unsupported) => None,
        (JsonType::Boolean, Kind::Boolean)
        | (JsonType::Object, Kind::Composite(_))
        | (JsonType::Array, Kind::Array(_))
        | (JsonType::String, Kind::Text) => EXACT,
        (JsonType::Number, Kind::Integer) => is_integer(raw).then_some(3),
        (JsonType::Number, Kind::Number) => {
            if is_integer(raw) {
                CLOSE
            } else {
                EXACT
            }
        }
        (JsonType::String, Kind::Enum(labels)) => string(raw)
            .is_some_and(|text| labels.iter().any(|label| *label == text))
            .then_some(3),
        (JsonType::Object | JsonType::Array, Kind::Json) => CLOSE,
        (JsonType::Boolean | JsonType::Number | JsonType::String, Kind::Json)
        | (JsonType::Boolean | JsonType::Number, Kind::Text | Kind::Foreign)
        | (JsonType::String, _) => POSSIBLE,
        _ => None,
    }
}

/// Whether a number is written without a fraction and an exponent.
fn is_integer(raw: &RawValue) -> bool {
    !raw.get().contains(['.', 'e', 'E'])
}
