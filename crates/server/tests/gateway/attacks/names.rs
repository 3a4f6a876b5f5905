//! SQL where a name or a value belongs, and names of functions that are nobody's to call.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use rolegate_testkit::for_each_version;
use serde_json::json;

use super::{MODES, tenants};
use crate::harness::{code, outcome, text};

/// What no answer may contain: proof that SQL of the caller ran, or what it was after.
fn assert_nothing_ran(what: &str, body: &str) {
    for proof in [
        "rolegate_gateway",
        "rolegate_authenticator",
        "postgres",
        "token_hash",
        "bobs secret",
        "syntax",
    ] {
        assert!(
            !body.contains(proof),
            "{what}: the answer has {proof}: {body}"
        );
    }
}

const SQL: [&str; 16] = [
    "echo($1::jsonb)::json; select current_user --",
    "echo(null)::text || (select string_agg(rolname, ',') from pg_roles) --",
    "set_config('role','none',true) || query_to_xml('select * from rolegate.api_token',true,true,'')::text --",
    "set_config('role','bob',true) --",
    "pg_sleep(3) --",
    "\"echo\"",
    "api.echo(",
    "\"api\".\"echo\"",
    "api.\"echo",
    "api.api.echo",
    "rolegate_template.api.echo",
    "echo;",
    "echo\0",
    "Echo",
    "echo'",
    "ech\u{6f}\u{301}",
];

/// Functions that any role of the database may execute, and that are on no exposed schema.
const NOT_EXPOSED: [&str; 22] = [
    "pg_sleep",
    "pg_catalog.pg_sleep",
    "pg_catalog.jsonb_pretty",
    "jsonb_pretty",
    "pg_catalog.to_json",
    "version",
    "pg_catalog.version",
    "current_setting",
    "pg_catalog.set_config",
    "set_config",
    "pg_catalog.query_to_xml",
    "query_to_xml",
    "pg_catalog.pg_read_file",
    "pg_catalog.lo_create",
    "pg_catalog.pg_advisory_lock",
    "pg_catalog.pg_terminate_backend",
    "information_schema._pg_truetypid",
    "public.digest",
    "digest",
    "rolegate.claims",
    "rolegate.find_api_token",
    "rolegate.claim_signing_key",
];

#[tokio::test]
async fn a_function_name_is_looked_up_and_never_sql() {
    for_each_version(async |db| {
        let extension = "create extension pgcrypto with schema public";
        // Not every build of the server has it; its functions are not exposed either way.
        let _ = db.superuser().await.batch_execute(extension).await;
        for mode in MODES {
            let tenants = tenants(db, mode, |_, bob| {
                format!(
                    "create function api.echo(value jsonb) returns jsonb language sql stable \
                     as 'select value'; grant execute on function api.echo(jsonb) to public; \
                     create table api.secrets (text text); insert into api.secrets values ('bobs secret'); \
                     grant select on api.secrets to \"{bob}\""
                )
            })
            .await;
            let (gateway, token) = (&tenants.gateway, tenants.demo_token.as_str());
            let (status, body) = gateway.call(token, "echo", r#"{"a": 1}"#).await;
            assert_eq!((status, body.as_str()), (StatusCode::OK, "{\"a\": 1}"), "{mode:?}");
            for name in SQL.iter().chain(&NOT_EXPOSED) {
                let path = format!("/{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
                let envelope = json!({"jsonrpc": "2.0", "id": 1, "method": name, "params": {}});
                for (how, request) in [
                    ("POST", gateway.post(&path, Some(token), "{}")),
                    ("GET", gateway.get(&path, Some(token))),
                    ("RPC", gateway.post("", Some(token), &envelope.to_string())),
                ] {
                    let (status, code, body) = outcome(request).await;
                    let what = format!("{how} {name:?} {mode:?}");
                    assert_eq!((status, code.as_str()), (404, "function_not_found"), "{what}: {body}");
                    assert_nothing_ran(&what, &body);
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_database_name_is_looked_up_and_never_a_connection() {
    for_each_version(async |db| {
        for mode in MODES {
            let tenants = tenants(db, mode, |_, _| {
                "create function api.one() returns int language sql stable as 'select 1'".to_owned()
            })
            .await;
            for name in [
                "postgres",
                "template1",
                "rolegate_template",
                db.name(),
                "app user=postgres",
                "app' host='127.0.0.1",
                "app;drop schema api cascade",
                "../app",
                "app\0",
                "APP",
                "ap",
            ] {
                let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
                let url = format!("http://{}/api/{encoded}/one", tenants.gateway.address);
                for token in [Some(&tenants.demo_token), None] {
                    let mut request = tenants.gateway.client.get(&url);
                    if let Some(token) = token {
                        request = request.bearer_auth(token);
                    }
                    let (status, code, body) = outcome(request).await;
                    assert_eq!(
                        (status, code.as_str()),
                        (404, "database_unknown"),
                        "{name:?}: {body}"
                    );
                }
            }
            // The ways to the right database that are not the configured name did not count as it.
            let (status, _) = tenants.gateway.call(&tenants.demo_token, "one", "").await;
            assert_eq!(status, StatusCode::OK);
        }
    })
    .await;
}

#[tokio::test]
async fn arguments_are_values_and_their_names_are_looked_up() {
    for_each_version(async |db| {
        for mode in MODES {
            let tenants = tenants(db, mode, |_, _| {
                "create function api.echo(value text, other int default 1) returns text \
                 language sql stable as 'select value'"
                    .to_owned()
            })
            .await;
            let (gateway, token) = (&tenants.gateway, tenants.demo_token.as_str());
            for value in [
                "'; drop schema api cascade; --",
                "$1",
                "$$",
                "\\",
                "\u{202e}",
                "1) --",
                "\"",
                "E'\\x'",
            ] {
                let params = json!({"value": value}).to_string();
                let (status, body) = gateway.call(token, "echo", &params).await;
                assert_eq!(
                    (status, body),
                    (StatusCode::OK, json!(value).to_string()),
                    "{mode:?}"
                );
                let path = format!(
                    "/echo?value={}",
                    utf8_percent_encode(value, NON_ALPHANUMERIC)
                );
                let (status, body) = text(gateway.get(&path, Some(token))).await;
                assert_eq!(
                    (status, body),
                    (StatusCode::OK, json!(value).to_string()),
                    "{mode:?}"
                );
            }
            for name in [
                "value => 'x') --",
                "\"value\"",
                "value::text",
                "Value",
                "",
                "1",
                "$1",
                "x', other => 2",
            ] {
                let params = json!({name: "x"}).to_string();
                let (status, body) = gateway.call(token, "echo", &params).await;
                assert_eq!(
                    (status.as_u16(), code(&body).as_str()),
                    (400, "invalid_params"),
                    "{name:?}: {body}"
                );
                assert_nothing_ran(name, &body);
            }
            let nul = gateway
                .call(token, "echo", r#"{"value": "a\u0000b"}"#)
                .await;
            assert_eq!(
                (nul.0.as_u16(), code(&nul.1).as_str()),
                (400, "invalid_params"),
                "{}",
                nul.1
            );
        }
    })
    .await;
}
