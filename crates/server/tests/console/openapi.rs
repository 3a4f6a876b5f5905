//! The document and the routes are the same.

use std::collections::BTreeSet;

use reqwest::Method;
use rolegate_server::router::ADMIN_ENDPOINTS;
use rolegate_testkit::for_each_version;
use serde_json::Value;

use crate::harness::{code, text};
use crate::setup::{Console, json_of};

/// Every value of a member `name`, at any depth.
fn members<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                if key == name {
                    found.push(value);
                }
                members(value, name, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| members(value, name, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_route_is_described_and_everything_described_is_served() {
    for_each_version(async |db| {
        let console = Console::start(db).await;
        let document = json_of(console.request(Method::GET, "/v1/openapi.json", None), 200).await;
        assert_eq!(document["openapi"], "3.1.0");
        let paths = document["paths"].as_object().expect("paths");
        let described: BTreeSet<(String, &str)> = paths
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().expect("methods");
                methods
                    .keys()
                    .map(move |method| (method.to_uppercase(), path.as_str()))
            })
            .collect();
        let routed: BTreeSet<(String, &str)> = ADMIN_ENDPOINTS
            .iter()
            .map(|endpoint| (endpoint.method.to_owned(), endpoint.path))
            .collect();
        assert_eq!(described, routed);
        assert_eq!(
            routed.len(),
            ADMIN_ENDPOINTS.len(),
            "a route is there twice"
        );

        let mut ids = BTreeSet::new();
        for (method, path) in &described {
            // The method of the table is the one its handler takes.
            let sent = method.parse().expect("a method");
            let (status, body) = text(console.request(sent, path, None)).await;
            let problem = code(&body);
            assert!(
                problem == "credential_missing" || status.is_success(),
                "{method} {path} is {status} {body}"
            );
            let operation = &paths[*path][method.to_lowercase()];
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id), "{id} is there twice");
            let variable = path.matches('{').count();
            let mut given = Vec::new();
            members(&operation["parameters"], "in", &mut given);
            let given = given.iter().filter(|place| ***place == "path").count();
            assert_eq!(given, variable, "{method} {path}");
        }
        let mut references = Vec::new();
        members(&document, "$ref", &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let pointer = reference.as_str().expect("a text").trim_start_matches('#');
            assert!(
                document.pointer(pointer).is_some(),
                "{reference} leads nowhere"
            );
        }
    })
    .await;
}
