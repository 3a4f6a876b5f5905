use serde_json::{Value, json};

use super::*;
use crate::fixture::{self, With, function};
use crate::kind::oid;

const CONFIG: OpenApi<'_> = OpenApi {
    title: "Orders",
    version: "1",
    database: "app",
    server: Some("https://db.example"),
    anonymous: false,
    login: true,
    queries: None,
};

/// Every reference of a document leads to something in it.
fn assert_references_resolve(document: &Value) {
    fn walk(document: &Value, value: &Value, found: &mut usize) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').expect("a local reference");
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                    *found += 1;
                }
                members
                    .values()
                    .for_each(|value| walk(document, value, found));
            }
            Value::Array(elements) => {
                for value in elements {
                    walk(document, value, found);
                }
            }
            _ => {}
        }
    }
    let mut found = 0;
    walk(document, document, &mut found);
    assert!(found > 0, "the example has references");
}

#[test]
fn capabilities_document() {
    let snapshot = fixture::example();
    let document = capabilities(&snapshot, snapshot.functions());
    assert!(
        !document.to_string().contains("$ref"),
        "schemas stand alone"
    );
    insta::assert_json_snapshot!(document);
}

#[test]
fn openapi_document() {
    let snapshot = fixture::example();
    let document = openapi(&CONFIG, &snapshot, snapshot.functions());
    assert_references_resolve(&document);
    insta::assert_json_snapshot!(document);
}

#[test]
fn openrpc_document() {
    let snapshot = fixture::example();
    let document = openrpc(&CONFIG, &snapshot, snapshot.functions());
    assert_references_resolve(&document);
    insta::assert_json_snapshot!(document);
}

#[test]
fn documents_hold_the_given_functions_and_no_others() {
    let snapshot = fixture::example();
    let given = &snapshot.functions()[..1];
    for document in [
        capabilities(&snapshot, given),
        openapi(&CONFIG, &snapshot, given),
        openrpc(&CONFIG, &snapshot, given),
    ] {
        let text = document.to_string();
        assert!(text.contains("api.add"));
        for hidden in ["echo", "settle", "Order", "app.mood"] {
            assert!(!text.contains(&format!("api.{hidden}")), "{hidden}");
            assert!(!text.contains(&format!("/{hidden}")), "{hidden}");
        }
    }
}

#[test]
fn paths_get_only_for_functions_that_read_and_take_texts() {
    let snapshot = fixture::example();
    let document = openapi(&CONFIG, &snapshot, snapshot.functions());
    let has_get = |method: &str| {
        document["paths"][format!("/api/app/api.{method}")]
            .as_object()
            .expect("a path")
            .contains_key("get")
    };
    assert!(has_get("add"));
    assert!(has_get("list_items"));
    assert!(!has_get("echo"), "volatile");
    assert!(!has_get("settle"), "a procedure");
    assert!(document["paths"].get("/api/app/api.Odd%22Name").is_some());
    assert!(
        document["paths"].get("/api/app/api.any").is_none(),
        "not callable"
    );
    assert!(document["paths"].get("/api/app/login").is_some());
    let closed = OpenApi {
        login: false,
        anonymous: true,
        ..CONFIG
    };
    let document = openapi(&closed, &snapshot, snapshot.functions());
    assert!(document["paths"].get("/api/app/login").is_none());
    assert_eq!(document["security"], json!([{"bearer": []}, {}]));
}

#[test]
fn queries_are_described_to_whom_they_are_answered() {
    let snapshot = fixture::example();
    let of = |queries, anonymous| {
        let config = OpenApi {
            anonymous,
            queries,
            ..CONFIG
        };
        openapi(&config, &snapshot, snapshot.functions())
    };
    let none = of(None, true).to_string();
    assert!(!none.contains("\"/query") && !none.contains("QueryRows"));

    let public = DescribedQueries {
        public: true,
        named: false,
    };
    let document = of(Some(public), true);
    assert_references_resolve(&document);
    let paths = document["paths"].as_object().expect("paths");
    for path in [
        "/query",
        "/query/explain",
        "/q/{hash}/{version}",
        "/api/app",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    let responses = &document["paths"]["/query"]["post"]["responses"];
    assert!(responses["200"]["content"]["text/event-stream"].is_object());
    assert!(responses["303"]["headers"]["Location"].is_object());
    assert!(document["paths"]["/query"]["get"]["responses"]["304"].is_object());
    assert!(document["paths"]["/q/{hash}/{version}"]["get"]["responses"]["410"].is_object());
    // As of the document: with a token, or without.
    assert!(document["paths"]["/query"]["post"]["security"].is_null());
    let database = &document["components"]["parameters"]["QueryDatabase"];
    assert_eq!(database["schema"], json!({"const": "app"}));
    assert_eq!(database["required"], false);
    // What is everybody's is still there.
    assert!(document["components"]["schemas"]["Problem"].is_object());
    assert!(document["components"]["parameters"]["IdempotencyKey"].is_object());

    let private = DescribedQueries {
        public: false,
        named: true,
    };
    let document = of(Some(private), true);
    let post = &document["paths"]["/query"]["post"];
    assert_eq!(post["security"], json!([{"bearer": []}]));
    let body = &document["components"]["schemas"]["Query"];
    assert_eq!(body["required"], json!(["sql", "database"]));
    assert_eq!(
        document["components"]["parameters"]["QueryDatabase"]["required"],
        true
    );
    insta::assert_json_snapshot!(document["paths"]["/query"]["get"]);
}

#[test]
fn overloads_share_a_path_and_an_openrpc_method() {
    let snapshot = fixture::snapshot(vec![
        function(1, "f")
            .arg("a", oid::INT4)
            .arg("b", oid::INT4)
            .stable(),
        function(2, "f")
            .arg("a", oid::TEXT)
            .returning(oid::INT4)
            .stable(),
    ]);
    let document = openapi(&CONFIG, &snapshot, snapshot.functions());
    let post = &document["paths"]["/api/app/api.f"]["post"];
    let body = &post["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["anyOf"].as_array().map(Vec::len), Some(2));
    let document = openrpc(&CONFIG, &snapshot, snapshot.functions());
    let methods = document["methods"].as_array().expect("methods");
    assert_eq!(methods.len(), 1);
    assert_eq!(methods[0]["params"][0]["name"], "a");
    assert_eq!(methods[0]["params"][0]["required"], true);
    assert_eq!(methods[0]["params"][1]["required"], false);
    assert_eq!(
        capabilities(&snapshot, snapshot.functions())
            .as_array()
            .map(Vec::len),
        Some(2)
    );
}

#[test]
fn positional_functions_have_array_params() {
    let snapshot = fixture::snapshot(vec![
        function(1, "f")
            .arg("", oid::INT4)
            .default_arg("b", oid::TEXT),
    ]);
    let document = capabilities(&snapshot, snapshot.functions());
    assert_eq!(
        document[0]["params"],
        json!({
            "type": "array",
            "prefixItems": [
                {"type": ["integer", "null"], "format": "int32"},
                {"type": ["string", "null"]}
            ],
            "items": false,
            "minItems": 1
        })
    );
}

#[test]
fn comments_are_read() {
    let documentation = Documentation::of(Some(
        "Places an order.\n\nMore.\n@param items what\n   and more\n@param mood\n@returns the order\nas stored\n\nLast.\n@paramx no",
    ));
    assert_eq!(documentation.summary.as_deref(), Some("Places an order."));
    assert_eq!(
        documentation.description.as_deref(),
        Some("Places an order.\n\nMore.\n\nLast.\n@paramx no")
    );
    assert_eq!(documentation.params["items"], "what and more");
    assert_eq!(documentation.params["mood"], "");
    assert_eq!(
        documentation.returns.as_deref(),
        Some("the order as stored")
    );
    assert_eq!(Documentation::of(None), Documentation::default());
}

#[test]
fn the_params_block_is_read_and_what_is_none_is_ignored() {
    let of = |block: &str| {
        Documentation::of(Some(&format!("Text.\n--- PARAMS ---\n{block}"))).properties
    };
    assert!(of("{\"a\": {\"type\": \"string\"}}").is_some());
    assert!(of("{\"a\": {\"type\": \"string\"}} and text").is_some());
    for block in [
        "",
        "nonsense",
        "[1]",
        "{\"a\": 1}",
        "{\"a\": {\"$ref\": \"#/x\"}}",
        "{\"a\": {\"items\": [{\"$ref\": \"https://x\"}]}}",
    ] {
        assert_eq!(of(block), None, "{block}");
    }
}

#[test]
fn names_of_components_are_unique() {
    let mut types = fixture::types();
    let mut other = types[&fixture::MOOD].clone();
    other.oid = 29999;
    other.sql = "\"app\".mood".into();
    types.insert(29999, other);
    let mut schemas = Schemas::new(&types, Named::Components);
    let first = schemas.not_null(fixture::MOOD);
    let second = schemas.not_null(29999);
    assert_eq!(first, json!({"$ref": "#/components/schemas/app.mood"}));
    assert_eq!(
        second,
        json!({"$ref": "#/components/schemas/app.mood_29999"})
    );
    assert_eq!(schemas.into_components().len(), 2);
}
