//! OpenRPC 1.3 of one database.

use std::collections::BTreeMap;
use std::sync::Arc;

use rolegate_pg::catalog::{Function, Snapshot};
use serde_json::{Map, Value, json};

use super::function::{Described, Param, described};
use super::json_schema::{Named, Schemas};
use super::openapi::{OpenApi, any_of};
use crate::resolve::signature;

/// The document. A method has one entry: overloads are merged, and an argument that not all of
/// them require is optional.
pub fn openrpc(config: &OpenApi<'_>, snapshot: &Snapshot, functions: &[Arc<Function>]) -> Value {
    let mut schemas = Schemas::new(snapshot.types(), Named::Components);
    let described = described(snapshot, functions);
    let mut methods: BTreeMap<String, Vec<&Described<'_>>> = BTreeMap::new();
    for function in &described {
        methods.entry(function.method()).or_default().push(function);
    }
    let methods: Vec<Value> = methods
        .iter()
        .map(|(name, overloads)| method(name, overloads, snapshot, &mut schemas))
        .collect();
    let components: Map<String, Value> = schemas.into_components();
    let url = format!(
        "{}/api/{}",
        config.server.unwrap_or_default(),
        config.database
    );
    json!({
        "openrpc": "1.3.2",
        "info": {"title": config.title, "version": config.version},
        "servers": [{"name": config.database, "url": url}],
        "methods": methods,
        "components": {"schemas": components},
    })
}

fn method(
    name: &str,
    overloads: &[&Described<'_>],
    snapshot: &Snapshot,
    schemas: &mut Schemas<'_>,
) -> Value {
    let params: Vec<Value> = merged(overloads, schemas)
        .into_iter()
        .map(content_descriptor)
        .collect();
    let results = overloads
        .iter()
        .map(|function| function.result_schema(schemas))
        .collect();
    let mut text: Vec<String> = overloads
        .iter()
        .filter_map(|function| function.documentation.description.clone())
        .collect();
    text.extend(
        overloads
            .iter()
            .map(|found| format!("`{}`", signature(snapshot, found.function))),
    );
    let structure = if overloads.iter().any(|function| function.is_positional()) {
        "by-position"
    } else if overloads.len() > 1 || overloads.iter().any(|function| function.takes_whole()) {
        "by-name"
    } else {
        "either"
    };
    let summary = overloads
        .iter()
        .find_map(|function| function.documentation.summary.clone());
    json!({
        "name": name,
        "summary": summary.unwrap_or_else(|| name.to_owned()),
        "description": text.join("\n\n"),
        "paramStructure": structure,
        "params": params,
        "result": {"name": "result", "schema": any_of(results)},
    })
}

/// The arguments of all overloads, required ones first, as the specification asks.
fn merged(overloads: &[&Described<'_>], schemas: &mut Schemas<'_>) -> Vec<Param> {
    let lists: Vec<Vec<Param>> = overloads
        .iter()
        .map(|function| function.params(schemas))
        .collect();
    let mut all: Vec<Param> = Vec::new();
    for param in lists.iter().flatten() {
        match all.iter_mut().find(|known| known.name == param.name) {
            Some(known) => {
                known.schema = any_of(vec![known.schema.clone(), param.schema.clone()]);
            }
            None => all.push(param.clone()),
        }
    }
    for param in &mut all {
        param.required = lists.iter().all(|list| {
            list.iter()
                .any(|other| other.name == param.name && other.required)
        });
    }
    all.sort_by_key(|param| !param.required);
    all
}

fn content_descriptor(param: Param) -> Value {
    let mut descriptor =
        json!({"name": param.name, "required": param.required, "schema": param.schema});
    if let Some(text) = param.description {
        descriptor["description"] = text.into();
    }
    descriptor
}
