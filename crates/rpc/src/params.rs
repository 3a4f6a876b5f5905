//! The arguments of a call as they were given.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::envelope::members::{JsonType, Members};
use crate::error::InvalidParams;

/// The arguments of a call as they were given.
#[derive(Debug)]
pub enum Params<'a> {
    /// None at all.
    Absent,
    /// A JSON object.
    Named {
        /// Its text.
        whole: &'a RawValue,
        /// Its members, each name once.
        members: Vec<(Cow<'a, str>, &'a RawValue)>,
    },
    /// A JSON array.
    Positional {
        /// Its text.
        whole: &'a RawValue,
        /// Its elements.
        elements: Vec<&'a RawValue>,
    },
    /// Pairs of a query string, each name once with all its values.
    Query(Vec<(String, Vec<String>)>),
}

impl<'a> Params<'a> {
    /// Reads `params` of an envelope; no params and null are the same.
    pub fn from_json(params: Option<&'a RawValue>) -> Result<Self, InvalidParams> {
        let Some(whole) = params else {
            return Ok(Self::Absent);
        };
        match JsonType::of(whole) {
            JsonType::Null => Ok(Self::Absent),
            JsonType::Object => {
                let members = Members::of(whole)
                    .map_err(|_| InvalidParams::new("a name in the params is no valid string"))?;
                if let Some(name) = members.repeated() {
                    return Err(InvalidParams::at(name, "is given twice"));
                }
                Ok(Self::Named {
                    whole,
                    members: members.0,
                })
            }
            JsonType::Array => {
                let elements = serde_json::from_str(whole.get())
                    .map_err(|_| InvalidParams::new("the params are not valid JSON"))?;
                Ok(Self::Positional { whole, elements })
            }
            _ => Err(InvalidParams::new(
                "the params are neither an object nor an array",
            )),
        }
    }

    /// Takes the pairs of a query string, decoded, in their order. A name that occurs several
    /// times is an array, or the values of a variadic argument.
    pub fn from_query(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut grouped: Vec<(String, Vec<String>)> = Vec::new();
        // Names of a query string are few: it is a line of text with a bound of its own.
        for (name, value) in pairs {
            match grouped.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => grouped.push((name, vec![value])),
            }
        }
        Self::Query(grouped)
    }

    /// The params as one JSON text, for a function that takes them whole.
    pub(crate) fn whole(&self) -> Cow<'a, str> {
        match self {
            Self::Absent => Cow::Borrowed("{}"),
            Self::Named { whole, .. } | Self::Positional { whole, .. } => {
                Cow::Borrowed(whole.get())
            }
            Self::Query(pairs) => {
                let object: serde_json::Map<String, serde_json::Value> = pairs
                    .iter()
                    .map(|(name, values)| match values.as_slice() {
                        [one] => (name.clone(), one.clone().into()),
                        several => (name.clone(), several.to_vec().into()),
                    })
                    .collect();
                Cow::Owned(serde_json::Value::Object(object).to_string())
            }
        }
    }
}
