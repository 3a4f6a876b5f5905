//! What expressions compute with. A copy is another reference.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fault::{Budget, Reason};

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Double(Double),
    String(Arc<str>),
    List(Arc<Vec<Value>>),
    Map(Arc<BTreeMap<Key, Value>>),
    Type(Type),
}

/// One from a payload has the text that it was written as.
#[derive(Debug, Clone)]
pub(crate) struct Double {
    pub(crate) value: f64,
    pub(crate) text: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Bool(bool),
    Int(i64),
    String(Arc<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::enum_variant_names)]
pub(crate) enum Type {
    Null,
    Bool,
    Int,
    Double,
    String,
    List,
    Map,
    Type,
}

impl Type {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "null_type" => Self::Null,
            "bool" => Self::Bool,
            "int" => Self::Int,
            "double" => Self::Double,
            "string" => Self::String,
            "list" => Self::List,
            "map" => Self::Map,
            "type" => Self::Type,
            _ => return None,
        })
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Double(Double { value, text: None })
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<Vec<Value>> for Value {
    fn from(values: Vec<Value>) -> Self {
        Self::List(Arc::new(values))
    }
}

impl From<&Key> for Value {
    fn from(key: &Key) -> Self {
        match key {
            Key::Bool(value) => Self::Bool(*value),
            Key::Int(value) => Self::Int(*value),
            Key::String(text) => Self::String(Arc::clone(text)),
        }
    }
}

impl Value {
    pub(crate) fn r#type(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::List(_) => Type::List,
            Self::Map(_) => Type::Map,
            Self::Type(_) => Type::Type,
        }
    }

    /// As a key that is looked up: `1.0` finds `1`.
    pub(crate) fn lookup_key(&self) -> Option<Key> {
        match self {
            Self::Bool(value) => Some(Key::Bool(*value)),
            Self::Int(value) => Some(Key::Int(*value)),
            Self::Double(double) => whole(double.value).map(Key::Int),
            Self::String(text) => Some(Key::String(Arc::clone(text))),
            _ => None,
        }
    }

    /// As a key of a map that is made.
    pub(crate) fn new_key(&self) -> Option<Key> {
        match self {
            Self::Double(_) => None,
            _ => self.lookup_key(),
        }
    }

    /// Values of different types are different, except numbers.
    #[allow(clippy::float_cmp)]
    pub(crate) fn equals(&self, other: &Self, budget: &mut Budget) -> Result<bool, Reason> {
        budget.charge(1)?;
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::Int(left), Self::Int(right)) => left == right,
            (Self::Int(int), Self::Double(double)) | (Self::Double(double), Self::Int(int)) => {
                as_double(*int) == double.value
            }
            (Self::Double(left), Self::Double(right)) => left.value == right.value,
            (Self::String(left), Self::String(right)) => {
                budget.charge_text(left.len().min(right.len()))?;
                left == right
            }
            (Self::Type(left), Self::Type(right)) => left == right,
            (Self::List(left), Self::List(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (left, right) in left.iter().zip(right.iter()) {
                    if !left.equals(right, budget)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Map(left), Self::Map(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for ((left_key, left), (right_key, right)) in left.iter().zip(right.iter()) {
                    if let (Key::String(left), Key::String(right)) = (left_key, right_key) {
                        budget.charge_text(left.len().min(right.len()))?;
                    }
                    if left_key != right_key || !left.equals(right, budget)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ => false,
        })
    }
}

/// The nearest one: comparisons with whole numbers are as in other implementations.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn as_double(int: i64) -> f64 {
    int as f64
}

/// The same number without a fraction, if there is one.
#[allow(clippy::float_cmp)]
pub(crate) fn whole(double: f64) -> Option<i64> {
    let int = truncated(double)?;
    (as_double(int) == double).then_some(int)
}

/// Without its fraction, if that is within 64 bits.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn truncated(double: f64) -> Option<i64> {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    (double > -BOUND && double < BOUND).then_some(double as i64)
}
