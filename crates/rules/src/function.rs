//! Functions of expressions.

use crate::fault::{Budget, Reason};
use crate::value::{Double, Value, as_double, truncated};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Int,
    Double,
    String,
    Bool,
    Type,
    Dyn,
}

/// How many arguments there are, what it is called on included.
pub(crate) struct Arity(pub(crate) usize);

impl Function {
    /// One that is called by its name.
    pub(crate) fn global(name: &str) -> Option<Self> {
        Some(match name {
            "size" => Self::Size,
            "int" => Self::Int,
            "double" => Self::Double,
            "string" => Self::String,
            "bool" => Self::Bool,
            "type" => Self::Type,
            "dyn" => Self::Dyn,
            _ => return None,
        })
    }

    /// One that is called on something.
    pub(crate) fn method(name: &str) -> Option<Self> {
        Some(match name {
            "size" => Self::Size,
            "contains" => Self::Contains,
            "startsWith" => Self::StartsWith,
            "endsWith" => Self::EndsWith,
            _ => return None,
        })
    }

    pub(crate) fn arity(self) -> Arity {
        Arity(match self {
            Self::Contains | Self::StartsWith | Self::EndsWith => 2,
            _ => 1,
        })
    }

    pub(crate) fn call(self, arguments: &[Value], budget: &mut Budget) -> Result<Value, Reason> {
        match (self, arguments) {
            (Self::Size, [value]) => size(value, budget),
            (Self::Type, [value]) => Ok(Value::Type(value.r#type())),
            (Self::Dyn, [value]) => Ok(value.clone()),
            (Self::Int, [value]) => int(value, budget),
            (Self::Double, [value]) => double(value, budget),
            (Self::String, [value]) => string(value),
            (Self::Bool, [value]) => bool(value),
            (_, [Value::String(text), Value::String(part)]) => {
                // Linear in both.
                budget.charge_text(text.len() + part.len())?;
                Ok(Value::Bool(match self {
                    Self::Contains => text.contains(&**part),
                    Self::StartsWith => text.starts_with(&**part),
                    _ => text.ends_with(&**part),
                }))
            }
            _ => Err(Reason::WrongType),
        }
    }
}

fn size(value: &Value, budget: &mut Budget) -> Result<Value, Reason> {
    let size = match value {
        Value::String(text) => {
            budget.charge_text(text.len())?;
            text.chars().count()
        }
        Value::List(values) => values.len(),
        Value::Map(entries) => entries.len(),
        _ => return Err(Reason::WrongType),
    };
    i64::try_from(size)
        .map(Value::Int)
        .map_err(|_| Reason::Overflow)
}

fn int(value: &Value, budget: &mut Budget) -> Result<Value, Reason> {
    let int = match value {
        Value::Int(int) => Some(*int),
        Value::Double(double) => truncated(double.value),
        Value::String(text) => {
            budget.charge_text(text.len())?;
            text.parse().ok()
        }
        _ => return Err(Reason::WrongType),
    };
    int.map(Value::Int).ok_or(Reason::NotConvertible)
}

fn double(value: &Value, budget: &mut Budget) -> Result<Value, Reason> {
    match value {
        Value::Double(_) => Ok(value.clone()),
        Value::Int(int) => Ok(as_double(*int).into()),
        Value::String(text) => {
            budget.charge_text(text.len())?;
            let double = text.parse::<f64>().map_err(|_| Reason::NotConvertible)?;
            Ok(double.into())
        }
        _ => Err(Reason::WrongType),
    }
}

/// A number of a payload is as it was written.
fn string(value: &Value) -> Result<Value, Reason> {
    Ok(match value {
        Value::String(_) => value.clone(),
        Value::Bool(value) => Value::from(if *value { "true" } else { "false" }),
        Value::Int(int) => Value::from(&*int.to_string()),
        Value::Double(Double {
            text: Some(text), ..
        }) => Value::String(text.clone()),
        Value::Double(double) => Value::from(&*double.value.to_string()),
        _ => return Err(Reason::WrongType),
    })
}

fn bool(value: &Value) -> Result<Value, Reason> {
    Ok(Value::Bool(match value {
        Value::Bool(value) => *value,
        Value::String(text) => match &**text {
            "1" | "t" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "false" | "FALSE" | "False" => false,
            _ => return Err(Reason::NotConvertible),
        },
        _ => return Err(Reason::WrongType),
    }))
}
