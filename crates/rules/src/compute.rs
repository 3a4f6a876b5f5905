//! Operators on two values.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fault::{Budget, Reason};
use crate::node::Operator;
use crate::value::{Key, Value, as_double, whole};

/// Two values and an operator to one.
pub(crate) fn binary(
    operator: Operator,
    left: &Value,
    right: &Value,
    budget: &mut Budget,
) -> Result<Value, Reason> {
    let ordered = |budget: &mut Budget, which: fn(Ordering) -> bool| {
        compare(left, right, budget).map(|ordering| Value::Bool(which(ordering)))
    };
    match operator {
        Operator::Equal => left.equals(right, budget).map(Value::Bool),
        Operator::NotEqual => left.equals(right, budget).map(|equal| Value::Bool(!equal)),
        Operator::Less => ordered(budget, Ordering::is_lt),
        Operator::LessOrEqual => ordered(budget, Ordering::is_le),
        Operator::Greater => ordered(budget, Ordering::is_gt),
        Operator::GreaterOrEqual => ordered(budget, Ordering::is_ge),
        Operator::In => contains(right, left, budget),
        Operator::Add => add(left, right, budget),
        _ => arithmetic(operator, left, right),
    }
}

fn compare(left: &Value, right: &Value, budget: &mut Budget) -> Result<Ordering, Reason> {
    let ordering = match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Int(left), Value::Double(right)) => as_double(*left).partial_cmp(&right.value),
        (Value::Double(left), Value::Int(right)) => left.value.partial_cmp(&as_double(*right)),
        (Value::Double(left), Value::Double(right)) => left.value.partial_cmp(&right.value),
        (Value::String(left), Value::String(right)) => {
            budget.charge_text(left.len().min(right.len()))?;
            Some(left.cmp(right))
        }
        _ => None,
    };
    ordering.ok_or(Reason::WrongType)
}

fn contains(all: &Value, one: &Value, budget: &mut Budget) -> Result<Value, Reason> {
    match all {
        Value::List(values) => {
            for value in values.iter() {
                if value.equals(one, budget)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        Value::Map(entries) => {
            let found = match (one, one.lookup_key()) {
                (_, Some(key)) => find(entries, &key, budget)?.is_some(),
                (Value::Double(_), None) => false,
                (_, None) => return Err(Reason::WrongType),
            };
            Ok(Value::Bool(found))
        }
        _ => Err(Reason::WrongType),
    }
}

fn add(left: &Value, right: &Value, budget: &mut Budget) -> Result<Value, Reason> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => {
            budget.charge_text(left.len() + right.len())?;
            let mut text = String::with_capacity(left.len() + right.len());
            text.push_str(left);
            text.push_str(right);
            Ok(Value::String(text.into()))
        }
        (Value::List(left), Value::List(right)) => {
            budget.charge(left.len() + right.len())?;
            Ok(Value::List(Arc::new(
                left.iter().chain(right.iter()).cloned().collect(),
            )))
        }
        _ => arithmetic(Operator::Add, left, right),
    }
}

/// Numbers of one type; nothing is converted, and no whole number wraps.
fn arithmetic(operator: Operator, left: &Value, right: &Value) -> Result<Value, Reason> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => {
            let by_zero = matches!(operator, Operator::Divide | Operator::Remainder) && *right == 0;
            if by_zero {
                return Err(Reason::DivisionByZero);
            }
            let result = match operator {
                Operator::Add => left.checked_add(*right),
                Operator::Subtract => left.checked_sub(*right),
                Operator::Multiply => left.checked_mul(*right),
                Operator::Divide => left.checked_div(*right),
                Operator::Remainder => left.checked_rem(*right),
                _ => return Err(Reason::WrongType),
            };
            result.map(Value::Int).ok_or(Reason::Overflow)
        }
        (Value::Double(left), Value::Double(right)) => Ok(match operator {
            Operator::Add => left.value + right.value,
            Operator::Subtract => left.value - right.value,
            Operator::Multiply => left.value * right.value,
            Operator::Divide => left.value / right.value,
            _ => return Err(Reason::WrongType),
        }
        .into()),
        _ => Err(Reason::WrongType),
    }
}

/// An element of a list, or what a map has for a key.
pub(crate) fn index(of: &Value, by: &Value, budget: &mut Budget) -> Result<Value, Reason> {
    match of {
        Value::List(values) => {
            let nth = match by {
                Value::Int(int) => Some(*int),
                Value::Double(double) => whole(double.value),
                _ => None,
            };
            let nth = nth.ok_or(Reason::WrongType)?;
            let value = usize::try_from(nth).ok().and_then(|nth| values.get(nth));
            value.cloned().ok_or(Reason::OutOfRange)
        }
        Value::Map(entries) => {
            let key = by.lookup_key().ok_or(Reason::NoSuchKey)?;
            let found = find(entries, &key, budget)?;
            found.cloned().ok_or(Reason::NoSuchKey)
        }
        _ => Err(Reason::WrongType),
    }
}

/// What a map has for a key, which is compared with some of its own.
pub(crate) fn find<'a>(
    entries: &'a BTreeMap<Key, Value>,
    key: &Key,
    budget: &mut Budget,
) -> Result<Option<&'a Value>, Reason> {
    if let Key::String(text) = key {
        budget.charge_text(text.len())?;
    }
    Ok(entries.get(key))
}
