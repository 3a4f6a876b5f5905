//! OpenAPI 3.1 of one database.

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rolegate_pg::catalog::{Function, Snapshot};
use serde_json::{Map, Value, json};

use super::function::{Described, described};
use super::json_schema::{Named, Schemas, fits_query};
use crate::resolve::signature;

/// Characters of a path segment that stay as they are.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Parts of the document that are everybody's.
const COMPONENTS: &str = include_str!("openapi/components.json");
const ENVELOPE_PATH: &str = include_str!("openapi/envelope_path.json");
const LOGIN_PATH: &str = include_str!("openapi/login_path.json");
/// What is of queries: paths, which are the process's and not of one database, and components.
const QUERIES: &str = include_str!("openapi/queries.json");

/// What the document says besides its functions.
#[derive(Debug, Clone)]
pub struct OpenApi<'c> {
    /// `info.title`.
    pub title: &'c str,
    /// `info.version`.
    pub version: &'c str,
    /// Name of the database, as it stands in paths.
    pub database: &'c str,
    /// Base URL of the server, if it is known from outside.
    pub server: Option<&'c str>,
    /// Requests without a token are allowed.
    pub anonymous: bool,
    /// The password login is on.
    pub login: bool,
    /// Queries, if this caller may ask any.
    pub queries: Option<DescribedQueries>,
}

/// How a database answers queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescribedQueries {
    /// Some are answered without a token.
    pub public: bool,
    /// There is more than one database, so that a query has to name its own.
    pub named: bool,
}

/// The document, with a real path for each method.
pub fn openapi(config: &OpenApi<'_>, snapshot: &Snapshot, functions: &[Arc<Function>]) -> Value {
    let mut schemas = Schemas::new(snapshot.types(), Named::Components);
    let base = format!("/api/{}", segment(config.database));
    let described = described(snapshot, functions);
    let mut methods: BTreeMap<String, Vec<&Described<'_>>> = BTreeMap::new();
    for function in &described {
        methods.entry(function.method()).or_default().push(function);
    }
    let mut paths = Map::new();
    paths.insert(base.clone(), fixed(ENVELOPE_PATH));
    if config.login {
        paths.insert(format!("{base}/login"), fixed(LOGIN_PATH));
    }
    for (method, overloads) in &methods {
        let item = path_item(method, overloads, snapshot, &mut schemas);
        paths.insert(format!("{base}/{}", segment(method)), item);
    }
    let mut components = fixed(COMPONENTS);
    if let Some(Value::Object(all)) = components.get_mut("schemas") {
        all.extend(schemas.into_components());
    }
    if let Some(queries) = config.queries {
        add_queries(queries, config, &mut paths, &mut components);
    }
    let mut security = vec![json!({"bearer": []})];
    if config.anonymous {
        security.push(json!({}));
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {"title": config.title, "version": config.version},
        "paths": paths,
        "components": components,
        "security": security,
    });
    if let Some(server) = config.server {
        document["servers"] = json!([{"url": server}]);
    }
    document
}

/// The paths that queries have. The database they name is the one that is described.
fn add_queries(
    queries: DescribedQueries,
    config: &OpenApi<'_>,
    paths: &mut Map<String, Value>,
    components: &mut Value,
) {
    let mut parts = fixed(QUERIES);
    let own = &mut parts["components"];
    own["parameters"]["QueryDatabase"]["schema"] = json!({"const": config.database});
    own["parameters"]["QueryDatabase"]["required"] = queries.named.into();
    let query = &mut own["schemas"]["Query"];
    query["properties"]["database"]["const"] = config.database.into();
    if queries.named {
        query["required"] = json!(["sql", "database"]);
        query["examples"][0]["database"] = config.database.into();
    }
    if config.anonymous && !queries.public {
        for (path, method) in [
            ("/query", "post"),
            ("/query", "get"),
            ("/query/explain", "post"),
        ] {
            parts["paths"][path][method]["security"] = json!([{"bearer": []}]);
        }
    }
    for kind in ["parameters", "schemas"] {
        if let (Some(all), Value::Object(own)) = (
            components.get_mut(kind).and_then(Value::as_object_mut),
            parts["components"][kind].take(),
        ) {
            all.extend(own);
        }
    }
    if let Value::Object(own) = parts["paths"].take() {
        paths.extend(own);
    }
}

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A part that is written as JSON text in a file of ours.
fn fixed(json: &str) -> Value {
    serde_json::from_str(json).expect("the files of this module are valid JSON, as a test shows")
}

fn path_item(
    method: &str,
    overloads: &[&Described<'_>],
    snapshot: &Snapshot,
    schemas: &mut Schemas<'_>,
) -> Value {
    let mut item = Map::new();
    let mut post = operation(method, overloads, snapshot, schemas);
    let bodies: Vec<Value> = overloads
        .iter()
        .map(|function| function.params_schema(schemas))
        .collect();
    let required = overloads
        .iter()
        .all(|function| function.params(schemas).iter().any(|param| param.required));
    post["operationId"] = json!(format!("post_{method}"));
    post["requestBody"] = json!({
        "required": required,
        "content": {"application/json": {"schema": any_of(bodies)}},
    });
    // A body may take too long, and be of another type.
    for status in ["408", "415"] {
        post["responses"][status] = json!({"$ref": "#/components/responses/Problem"});
    }
    post["parameters"] = json!([{"$ref": "#/components/parameters/IdempotencyKey"}]);
    item.insert("post".to_owned(), post);
    if let [only] = overloads
        && let Some(parameters) = query_parameters(only, schemas)
    {
        let mut get = operation(method, overloads, snapshot, schemas);
        get["operationId"] = json!(format!("get_{method}"));
        get["parameters"] = parameters;
        item.insert("get".to_owned(), get);
    }
    Value::Object(item)
}

/// What all operations on a method have.
fn operation(
    method: &str,
    overloads: &[&Described<'_>],
    snapshot: &Snapshot,
    schemas: &mut Schemas<'_>,
) -> Value {
    let results: Vec<Value> = overloads
        .iter()
        .map(|function| function.result_schema(schemas))
        .collect();
    let mut content = json!({"application/json": {"schema": any_of(results)}});
    if overloads
        .iter()
        .any(|function| function.function.returns.set)
    {
        let rows: Vec<Value> = overloads
            .iter()
            .filter(|function| function.function.returns.set)
            .map(|function| function.row_schema(schemas))
            .collect();
        content["application/x-ndjson"] = json!({"schema": any_of(rows)});
    }
    let mut responses = json!({"200": {"description": "The result.", "content": content}});
    for status in [
        "400", "401", "403", "404", "405", "409", "413", "429", "500", "503", "504",
    ] {
        responses[status] = json!({"$ref": "#/components/responses/Problem"});
    }
    let mut text: Vec<String> = overloads
        .iter()
        .filter_map(|function| function.documentation.description.clone())
        .collect();
    text.extend(
        overloads
            .iter()
            .map(|found| format!("`{}`", signature(snapshot, found.function))),
    );
    let schema = overloads
        .first()
        .map_or("", |found| found.function.schema.as_str());
    json!({
        "summary": overloads
            .iter()
            .find_map(|function| function.documentation.summary.clone())
            .unwrap_or_else(|| method.to_owned()),
        "description": text.join("\n\n"),
        "tags": [schema],
        "responses": responses,
    })
}

/// Parameters of a GET: only for functions that don't write and whose arguments are texts.
fn query_parameters(function: &Described<'_>, schemas: &mut Schemas<'_>) -> Option<Value> {
    let types = function.snapshot.types();
    let fits = function.is_read_only()
        && !function.takes_whole()
        && !function.is_positional()
        && function
            .function
            .inputs()
            .all(|argument| fits_query(types, argument.type_oid));
    if !fits {
        return None;
    }
    let parameters = function.params(schemas).into_iter().map(|param| {
        let mut parameter = json!({
            "name": param.name,
            "in": "query",
            "required": param.required,
            "schema": param.schema,
        });
        if let Some(text) = param.description {
            parameter["description"] = text.into();
        }
        parameter
    });
    Some(parameters.collect())
}

/// One of several schemas, equal ones once.
pub(super) fn any_of(mut schemas: Vec<Value>) -> Value {
    let mut distinct: Vec<Value> = Vec::with_capacity(schemas.len());
    for schema in schemas.drain(..) {
        if !distinct.contains(&schema) {
            distinct.push(schema);
        }
    }
    match distinct.len() {
        1 => distinct.swap_remove(0),
        _ => json!({"anyOf": distinct}),
    }
}
