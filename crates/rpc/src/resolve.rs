//! Which function a method and its arguments mean.
//!
//! Candidates are the overloads that may be executed and that a caller can call at all. By names
//! (object) or by count (array) some of them fit; of these the types of the JSON values choose,
//! then the one that leaves the fewest arguments to their defaults. Two that are still equal are
//! an error: nothing is guessed.
//!
//! A function whose only input is `json` or `jsonb` takes the params whole, whatever the argument
//! is called. It fits everything, so an overload that fits by names wins over it.

mod fit;
mod rival;
mod score;
mod signature;

use std::sync::Arc;

use rolegate_pg::catalog::{Function, FunctionKind, Snapshot};

use crate::error::{CallError, InvalidParams, shortened};
use crate::kind::Kind;
use crate::params::Params;

pub(crate) use fit::{Value, label};
pub use signature::signature;

use fit::{Misfit, fit as fit_arguments};

/// A function and the values for its arguments.
#[derive(Debug)]
pub struct Resolved<'p> {
    /// The function.
    pub function: Arc<Function>,
    /// A value for each of `function.arguments`; `None` leaves it to its default, and is what
    /// `OUT` arguments have.
    pub(crate) values: Vec<Option<Value<'p>>>,
}

/// Chooses the function. `may_execute` is asked for every overload; what it refuses is as if it
/// did not exist.
pub fn resolve<'p>(
    snapshot: &Snapshot,
    method: &str,
    params: &'p Params<'_>,
    may_execute: impl Fn(&Function) -> bool,
) -> Result<Resolved<'p>, CallError> {
    let overloads = snapshot.overloads(method);
    let candidates: Vec<&Arc<Function>> = overloads
        .iter()
        .filter(|function| is_callable(snapshot, function) && may_execute(function))
        .collect();
    if candidates.is_empty() {
        return Err(CallError::FunctionNotFound {
            method: method.to_owned(),
        });
    }
    let signatures = |functions: &[&Arc<Function>]| -> Vec<String> {
        functions
            .iter()
            .map(|function| signature(snapshot, function))
            .collect()
    };
    let mut fitting = Vec::new();
    let mut misfits = Vec::new();
    for function in &candidates {
        match fit_arguments(snapshot, function, params) {
            Ok(values) => fitting.push((*function, values)),
            Err(misfit) => misfits.push(misfit),
        }
    }
    if fitting.is_empty() {
        let mut invalid = misfits_to_error(&misfits);
        invalid.candidates = signatures(&candidates);
        return Err(invalid.into());
    }
    // One alone is taken even if a value does not suit it: the error then names the argument.
    let mut best = match fitting.len() {
        1 => fitting,
        _ => score::best(snapshot, fitting),
    };
    match best.len() {
        0 => {
            let mut invalid = InvalidParams::new(format!(
                "the types of the arguments fit no function `{}`",
                shortened(method)
            ));
            invalid.candidates = signatures(&candidates);
            Err(invalid.into())
        }
        1 => {
            let (function, values) = best.swap_remove(0);
            let rivals = rival::rivals(snapshot.types(), overloads, function, &values);
            if !rivals {
                return Ok(Resolved {
                    function: Arc::clone(function),
                    values,
                });
            }
            Err(CallError::FunctionAmbiguous {
                method: method.to_owned(),
                candidates: signatures(&candidates),
            })
        }
        _ => {
            let functions: Vec<_> = best.iter().map(|(function, _)| *function).collect();
            Err(CallError::FunctionAmbiguous {
                method: method.to_owned(),
                candidates: signatures(&functions),
            })
        }
    }
}

/// Whether a caller can call it at all: every input and the result has a type that values have.
/// Polymorphic functions and those of the server's internals have not.
pub fn is_callable(snapshot: &Snapshot, function: &Function) -> bool {
    let types = snapshot.types();
    let takes = function.arguments.iter().all(|argument| {
        !matches!(
            Kind::of(types, argument.type_oid),
            Kind::Unsupported | Kind::Record | Kind::Void
        )
    });
    takes
        && (function.kind == FunctionKind::Procedure
            || Kind::of(types, function.returns.type_oid) != Kind::Unsupported)
}

/// Whether the function takes the params whole.
pub fn takes_whole_params(snapshot: &Snapshot, function: &Function) -> bool {
    let mut inputs = function.inputs();
    let only = inputs.next().filter(|_| inputs.next().is_none());
    only.is_some_and(|only| Kind::of(snapshot.types(), only.type_oid) == Kind::Json)
}

fn misfits_to_error(misfits: &[Misfit]) -> InvalidParams {
    match misfits {
        [misfit] => misfit.to_error(),
        _ => InvalidParams {
            // A name that no overload knows is the likeliest mistake.
            unknown: misfits[0]
                .unknown
                .iter()
                .filter(|name| misfits.iter().all(|misfit| misfit.unknown.contains(name)))
                .cloned()
                .collect(),
            ..InvalidParams::new("no overload of the function takes these arguments")
        },
    }
}

#[cfg(test)]
mod tests;
