//! Arguments and result of one function as JSON Schema.

use std::sync::Arc;

use rolegate_pg::catalog::{Argument, ArgumentMode, Function, FunctionKind, Snapshot, Volatility};
use serde_json::{Map, Value, json};

use super::comment::Documentation;
use super::json_schema::Schemas;
use crate::kind::Kind;
use crate::resolve::{is_callable, takes_whole_params};

/// One function to be described.
#[derive(Debug)]
pub(super) struct Described<'s> {
    pub(super) snapshot: &'s Snapshot,
    pub(super) function: &'s Function,
    pub(super) documentation: Documentation,
}

/// The functions that can be called, in the order they are given.
pub(super) fn described<'s>(
    snapshot: &'s Snapshot,
    functions: &'s [Arc<Function>],
) -> Vec<Described<'s>> {
    functions
        .iter()
        .filter(|function| is_callable(snapshot, function))
        .map(|function| Described {
            snapshot,
            function,
            documentation: Documentation::of(function.comment.as_deref()),
        })
        .collect()
}

/// One argument of a document.
#[derive(Debug, Clone)]
pub(super) struct Param {
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) schema: Value,
    pub(super) description: Option<String>,
}

impl Described<'_> {
    pub(super) fn method(&self) -> String {
        self.function.method()
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.function.kind == FunctionKind::Function
            && self.function.volatility != Volatility::Volatile
    }

    pub(super) fn takes_whole(&self) -> bool {
        takes_whole_params(self.snapshot, self.function)
    }

    /// Whether arguments can only be given by position.
    pub(super) fn is_positional(&self) -> bool {
        !self.takes_whole()
            && self
                .function
                .inputs()
                .any(|argument| argument.name.is_none() && is_required(argument))
    }

    /// The arguments. For a function that takes the params whole, the documented members.
    pub(super) fn params(&self, schemas: &mut Schemas<'_>) -> Vec<Param> {
        if self.takes_whole() {
            let properties = self.documentation.properties.iter().flatten();
            return properties
                .map(|(name, schema)| Param {
                    name: name.clone(),
                    required: false,
                    schema: schema.clone(),
                    description: self.documentation.params.get(name).cloned(),
                })
                .collect();
        }
        let positional = self.is_positional();
        self.function
            .inputs()
            .enumerate()
            .filter(|(_, argument)| positional || argument.name.is_some())
            .map(|(index, argument)| {
                let name = argument
                    .name
                    .clone()
                    .unwrap_or_else(|| format!("arg{}", index + 1));
                let schema = if argument.mode == ArgumentMode::Variadic {
                    schemas.not_null(argument.type_oid)
                } else {
                    schemas.of(argument.type_oid)
                };
                Param {
                    required: is_required(argument),
                    schema,
                    description: self.description_of(&name),
                    name,
                }
            })
            .collect()
    }

    fn description_of(&self, name: &str) -> Option<String> {
        let peer = || {
            let schema = self.documentation.properties.as_ref()?.get(name)?;
            schema.get("description")?.as_str().map(str::to_owned)
        };
        self.documentation.params.get(name).cloned().or_else(peer)
    }

    /// The schema of `params`: an object, or an array if an argument has no name.
    pub(super) fn params_schema(&self, schemas: &mut Schemas<'_>) -> Value {
        let params = self.params(schemas);
        let required: Vec<&str> = params
            .iter()
            .filter(|param| param.required)
            .map(|param| param.name.as_str())
            .collect();
        if self.is_positional() {
            let least = required.len();
            let items: Vec<Value> = params.iter().map(Param::described_schema).collect();
            let variadic = self
                .function
                .inputs()
                .find(|argument| argument.mode == ArgumentMode::Variadic)
                .and_then(
                    |last| match Kind::of(self.snapshot.types(), last.type_oid) {
                        Kind::Array(element) => Some(schemas.of(element)),
                        _ => None,
                    },
                );
            // The values of a variadic argument follow the others one by one.
            let fixed = items.len() - usize::from(variadic.is_some());
            return json!({
                "type": "array",
                "prefixItems": items[..fixed],
                "items": variadic.unwrap_or(Value::Bool(false)),
                "minItems": least,
            });
        }
        let properties: Map<String, Value> = params
            .iter()
            .map(|param| (param.name.clone(), param.described_schema()))
            .collect();
        if self.takes_whole() {
            // Documented members are not the only ones, and an array is taken too.
            return if properties.is_empty() {
                json!({"type": ["object", "array"]})
            } else {
                json!({"type": "object", "properties": properties})
            };
        }
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }

    /// The schema of the result.
    pub(super) fn result_schema(&self, schemas: &mut Schemas<'_>) -> Value {
        let mut schema = if self.function.returns.set {
            json!({"type": "array", "items": self.row_schema(schemas)})
        } else {
            self.row_schema(schemas)
        };
        if let (Some(text), Value::Object(members)) = (&self.documentation.returns, &mut schema) {
            members.insert("description".to_owned(), text.clone().into());
        }
        schema
    }

    /// The schema of one row.
    pub(super) fn row_schema(&self, schemas: &mut Schemas<'_>) -> Value {
        let returns = &self.function.returns;
        if returns.columns.is_empty() {
            return if self.function.kind == FunctionKind::Procedure {
                json!({"type": "null"})
            } else {
                schemas.of(returns.type_oid)
            };
        }
        let mut row = schemas.object(&returns.columns);
        let names: Vec<&str> = returns
            .columns
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        row["required"] = json!(names);
        row
    }
}

impl Param {
    /// The schema with the description.
    fn described_schema(&self) -> Value {
        let mut schema = self.schema.clone();
        if let (Some(text), Value::Object(members)) = (&self.description, &mut schema) {
            members.insert("description".to_owned(), text.clone().into());
        }
        schema
    }
}

fn is_required(argument: &Argument) -> bool {
    !argument.has_default && argument.mode != ArgumentMode::Variadic
}
