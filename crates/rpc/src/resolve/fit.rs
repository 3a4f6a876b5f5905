//! Whether given arguments fit a function by name or by count.

use std::borrow::Cow;

use rolegate_pg::catalog::{Argument, ArgumentMode, Function, Snapshot};
use serde_json::value::RawValue;

use super::takes_whole_params;
use crate::error::{InvalidParams, shortened};
use crate::params::Params;

/// Where the value of an argument comes from.
#[derive(Debug)]
pub(crate) enum Value<'p> {
    /// A JSON value.
    Json(&'p RawValue),
    /// The params as one JSON text.
    Whole(Cow<'p, str>),
    /// Texts of a query string, at least one.
    Texts(&'p [String]),
    /// The remaining elements of an array, for a variadic argument; possibly none.
    Rest(&'p [&'p RawValue]),
}

/// Why they don't.
#[derive(Debug, Default)]
pub(super) struct Misfit {
    pub(super) unknown: Vec<String>,
    missing: Vec<String>,
    /// Values given by position, and how many can be.
    too_many: Option<(usize, usize)>,
}

impl Misfit {
    fn fits(&self) -> bool {
        self.unknown.is_empty() && self.missing.is_empty() && self.too_many.is_none()
    }

    pub(super) fn to_error(&self) -> InvalidParams {
        let mut said = Vec::new();
        if !self.missing.is_empty() {
            said.push(format!(
                "required arguments are missing: {}",
                self.missing.join(", ")
            ));
        }
        if !self.unknown.is_empty() {
            said.push(format!(
                "the function has no arguments {}",
                self.unknown.join(", ")
            ));
        }
        if let Some((given, most)) = self.too_many {
            said.push(format!(
                "{given} arguments are given, the function takes {most}"
            ));
        }
        InvalidParams {
            missing: self.missing.clone(),
            unknown: self.unknown.clone(),
            ..InvalidParams::new(said.join("; "))
        }
    }
}

/// A value for each argument of the function, or why there is none.
pub(super) fn fit<'p>(
    snapshot: &Snapshot,
    function: &Function,
    params: &'p Params<'_>,
) -> Result<Vec<Option<Value<'p>>>, Misfit> {
    let arguments = &function.arguments;
    let mut values: Vec<Option<Value<'p>>> = arguments.iter().map(|_| None).collect();
    let mut misfit = Misfit::default();
    if takes_whole_params(snapshot, function) {
        for (argument, value) in arguments.iter().zip(&mut values) {
            if argument.mode != ArgumentMode::Out {
                *value = Some(Value::Whole(params.whole()));
            }
        }
        return Ok(values);
    }
    match params {
        Params::Absent => {}
        Params::Named { members, .. } => {
            for (name, value) in members {
                place(
                    arguments,
                    &mut values,
                    &mut misfit,
                    name,
                    Value::Json(value),
                );
            }
        }
        Params::Query(pairs) => {
            for (name, texts) in pairs {
                place(
                    arguments,
                    &mut values,
                    &mut misfit,
                    name,
                    Value::Texts(texts),
                );
            }
        }
        Params::Positional { elements, .. } => {
            let mut rest = elements.as_slice();
            for (argument, value) in arguments.iter().zip(&mut values) {
                match argument.mode {
                    ArgumentMode::Out => {}
                    ArgumentMode::Variadic => *value = Some(Value::Rest(std::mem::take(&mut rest))),
                    ArgumentMode::In | ArgumentMode::InOut => {
                        if let Some((first, others)) = rest.split_first() {
                            *value = Some(Value::Json(first));
                            rest = others;
                        }
                    }
                }
            }
            if !rest.is_empty() {
                misfit.too_many = Some((elements.len(), function.inputs().count()));
            }
        }
    }
    for (index, (argument, value)) in arguments.iter().zip(&mut values).enumerate() {
        if value.is_some() || argument.mode == ArgumentMode::Out || argument.has_default {
            continue;
        }
        if argument.mode == ArgumentMode::Variadic {
            *value = Some(Value::Rest(&[]));
        } else {
            misfit.missing.push(label(argument, index));
        }
    }
    if misfit.fits() {
        Ok(values)
    } else {
        Err(misfit)
    }
}

fn place<'p>(
    arguments: &[Argument],
    values: &mut [Option<Value<'p>>],
    misfit: &mut Misfit,
    name: &str,
    value: Value<'p>,
) {
    let found = arguments.iter().position(|argument| {
        argument.mode != ArgumentMode::Out && argument.name.as_deref() == Some(name)
    });
    match found {
        Some(index) => values[index] = Some(value),
        None => misfit.unknown.push(shortened(name)),
    }
}

/// What an argument is called in messages: its name, or its number if it has none.
pub(crate) fn label(argument: &Argument, index: usize) -> String {
    argument
        .name
        .clone()
        .unwrap_or_else(|| format!("#{}", index + 1))
}
