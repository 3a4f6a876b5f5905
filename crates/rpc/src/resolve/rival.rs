//! Whether PostgreSQL could understand the statement as a call of another overload.
//!
//! Every parameter is declared with its exact type, so a call that gives all arguments can only
//! mean the function it was written for. One that leaves arguments to their defaults could mean
//! another overload with the same leading types, and which one PostgreSQL takes must not differ
//! from the one that was checked: such a call is refused.

use std::sync::Arc;

use rolegate_pg::catalog::{ArgumentMode, Function, Types};

use super::fit::Value;
use crate::kind::Kind;

/// Whether another overload would take the same call.
pub(super) fn rivals(
    types: &Types,
    overloads: &[Arc<Function>],
    function: &Function,
    values: &[Option<Value<'_>>],
) -> bool {
    let omitted = function
        .arguments
        .iter()
        .zip(values)
        .any(|(argument, value)| value.is_none() && argument.mode != ArgumentMode::Out);
    omitted
        && overloads
            .iter()
            .filter(|other| other.oid != function.oid)
            .any(|other| takes(types, other, function, values))
}

/// Whether `other` takes the values given for `function`. Defaults are the last arguments, so
/// those before the first omission are given by position, those after it by name.
fn takes(
    types: &Types,
    other: &Function,
    function: &Function,
    values: &[Option<Value<'_>>],
) -> bool {
    let mut used = vec![false; other.arguments.len()];
    let mut by_name = false;
    for (index, (argument, value)) in function.arguments.iter().zip(values).enumerate() {
        if value.is_none() && argument.mode != ArgumentMode::Out {
            by_name = true;
            continue;
        }
        let found = if by_name {
            other
                .arguments
                .iter()
                .position(|theirs| theirs.name.is_some() && theirs.name == argument.name)
        } else {
            Some(index)
        };
        // A variadic argument takes any number of values of its element type.
        let variadic = other
            .arguments
            .last()
            .filter(|last| last.mode == ArgumentMode::Variadic);
        let elements = variadic.and_then(|last| match Kind::of(types, last.type_oid) {
            Kind::Array(element) => Some(element),
            _ => None,
        });
        let fits = match found.filter(|at| *at < other.arguments.len()) {
            Some(at) => {
                used[at] = true;
                other.arguments[at].type_oid == argument.type_oid
                    || (at + 1 == other.arguments.len() && elements == Some(argument.type_oid))
            }
            None => !by_name && elements == Some(argument.type_oid),
        };
        if !fits {
            return false;
        }
    }
    other
        .arguments
        .iter()
        .zip(used)
        .all(|(argument, used)| used || argument.has_default)
}
