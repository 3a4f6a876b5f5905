//! What calls give back: types, numbers, errors, batches, idempotency, streams, limits, shutdown.

use std::time::Duration;

use reqwest::StatusCode;
use rolegate_server::budget::DefaultBudget;
use rolegate_testkit::{TestDatabase, for_each_version};
use serde_json::{Value, json};

use crate::harness::{Gateway, Options, api, text};

/// A gateway with the functions of these tests, and its caller's token.
async fn ready(db: &TestDatabase, options: Options) -> (Gateway, String) {
    let role = db.create_role("caller").await;
    let definitions = include_str!("calls.sql").replace("CALLER", &format!("\"{role}\""));
    api(db, &[&role], &definitions).await;
    let gateway = Gateway::start_with(db, options).await;
    let token = gateway.token(&role).await;
    (gateway, token)
}

#[tokio::test]
async fn arguments_and_results_keep_their_values() {
    for_each_version(async |db| {
        let (gateway, token) = ready(db, Options::default()).await;
        for (function, params, expected) in [
            ("add", r#"{"a": 1}"#, "11"),
            ("add", "[1, 2]", "3"),
            (
                "echo",
                r#"{"n": 9007199254740993, "d": 1.10}"#,
                r#"{"d": 1.10, "n": 9007199254740993}"#,
            ),
            ("numbers", "", r#"[{"a":9007199254740993,"b":1.10}]"#),
            (
                "twice",
                r#"{"value": 9007199254740993}"#,
                "18014398509481986",
            ),
            ("total", r#"{"amounts": [1.10, 2.20, null]}"#, "3.30"),
            ("label", r#"{"m": "happy"}"#, r#""happy""#),
            ("area", r#"{"r": {"w": 2, "h": 3}}"#, "6"),
            ("joined", r#"["-", "a", "b", "c"]"#, r#""a-b-c""#),
            ("nothing", "", "null"),
            ("no_value", "", "null"),
            ("series", "[3]", "[1,2,3]"),
            ("multiply", r#"{"a": 4}"#, r#"{"b":12}"#),
        ] {
            let (status, body) = gateway.call(&token, function, params).await;
            assert_eq!(
                (status, body.as_str()),
                (StatusCode::OK, expected),
                "{function} {params}"
            );
        }
    })
    .await;
}

/// Arrays, composites and points in time of a procedure are the JSON that PostgreSQL makes of them.
#[tokio::test]
async fn a_procedure_gives_what_a_function_gives() {
    for_each_version(async |db| {
        let (gateway, token) = ready(db, Options::default()).await;
        let params = r#"[["a,b", "c\"d\\", "", " ", "NULL", null, "{}", "ä"]]"#;
        let (status, expected) = gateway.call(&token, "parts_as_function", params).await;
        assert_eq!(status, StatusCode::OK, "{expected}");
        for part in [
            r#""tags":["a,b","c\"d\\","""#,
            r#""NULL",null,"{}","ä"]"#,
            r#""large":9007199254740993,"exact":1.10,"grid":[[1,2],[3,null]],"nothing":null"#,
            r#""sizes":[1,2]},{"name":null,"at":"infinity","sizes":null},null]"#,
            r#""Odd \"name\"":[9007199254740993,1.10]"#,
        ] {
            assert!(expected.contains(part), "{part}: {expected}");
        }
        let given = gateway.call(&token, "parts", params).await;
        assert_eq!(given, (StatusCode::OK, expected.clone()));
        // Together with what is stored with a result, and what is not to stay.
        for (name, value, written) in [
            ("idempotency-key", "k", "2"),
            ("idempotency-key", "k", "2"),
            ("prefer", "tx=rollback", "2"),
        ] {
            let request = gateway
                .post("/parts", Some(&token), params)
                .header(name, value);
            assert_eq!(text(request).await, (StatusCode::OK, expected.clone()));
            assert_eq!(
                gateway.call(&token, "written", "").await.1,
                written,
                "{name}"
            );
        }
        let call = |id: u32, method: &str, params: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
        };
        let atomic = async |last: String| {
            let calls = [
                call(1, "parts", params),
                call(2, "add", "[1]"),
                call(3, "parts", params),
            ];
            let body = format!("[{},{last}]", calls.join(","));
            let request = gateway.post("", Some(&token), &body);
            text(request.header("rolegate-atomic", "true")).await.1
        };
        let answer = atomic(call(4, "written", "[]")).await;
        let result =
            |id: u32, result: &str| format!(r#"{{"jsonrpc":"2.0","result":{result},"id":{id}}}"#);
        let results = [
            result(1, &expected),
            result(2, "11"),
            result(3, &expected),
            result(4, "4"),
        ];
        assert_eq!(answer, format!("[{}]", results.join(",")));
        let answer = atomic(call(4, "parts_and_error", "[]")).await;
        assert!(
            answer.contains("no way") && !answer.contains("result"),
            "{answer}"
        );
        for key in [None, Some("e")] {
            let mut request = gateway.post("/parts_and_error", Some(&token), "");
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            assert_eq!(text(request).await.0, StatusCode::BAD_REQUEST);
        }
        assert_eq!(
            gateway.call(&token, "written", "").await.1,
            "4",
            "nothing was done"
        );
    })
    .await;
}

#[tokio::test]
async fn wrong_arguments_are_named_and_errors_inside_are_never_not_found() {
    for_each_version(async |db| {
        let (gateway, token) = ready(db, Options::default()).await;
        for (function, params, status, code) in [
            ("add", r#"{"b": 1}"#, 400, "invalid_params"),
            ("add", r#"{"a": 1, "z": 1}"#, 400, "invalid_params"),
            ("add", r#"{"a": "x"}"#, 400, "invalid_params"),
            ("label", r#"{"m": "angry"}"#, 400, "invalid_params"),
            ("missing_table", "", 500, "database_error"),
            ("broken", "", 400, "database_error"),
            ("conflict", "", 409, "database_error"),
            ("unique_twice", "", 409, "database_error"),
            ("secretive", "", 400, "database_error"),
            ("absent", "", 404, "function_not_found"),
            ("commits", "", 500, "database_error"),
        ] {
            let (got, body) = gateway.call(&token, function, params).await;
            let value: Value = serde_json::from_str(&body).expect("a problem");
            assert_eq!(
                (got.as_u16(), &value["code"]),
                (status, &json!(code)),
                "{function}: {body}"
            );
            assert!(!body.contains("hidden value"), "{function}: {body}");
        }
        let (_, body) = gateway.call(&token, "broken", "").await;
        assert!(
            body.contains("no way") && body.contains("try later"),
            "{body}"
        );
    })
    .await;
}

#[tokio::test]
async fn get_is_for_reading_and_has_a_validator() {
    for_each_version(async |db| {
        let (gateway, token) = ready(db, Options::default()).await;
        let response = gateway
            .get("/add?a=5&b=6", Some(&token))
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        let tag = response.headers()["etag"]
            .to_str()
            .expect("text")
            .to_owned();
        assert_eq!(response.text().await.expect("a body"), "11");
        let again = gateway
            .get("/add?a=5&b=6", Some(&token))
            .header("if-none-match", &tag);
        assert_eq!(text(again).await.0, StatusCode::NOT_MODIFIED);
        let (status, _) = text(gateway.get("/write", Some(&token))).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        // Declared STABLE, writes: the transaction is read-only.
        let (status, body) = gateway.call(&token, "sneaky_write", "").await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{body}");
    })
    .await;
}

/// RFC 9110, 15.5.6: an answer with 405 says which methods there are.
#[tokio::test]
async fn every_405_says_what_is_allowed() {
    for_each_version(async |db| {
        let (gateway, token) = ready(db, Options::default()).await;
        let rpc = |method: &str| {
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": method}).to_string();
            gateway.post("", Some(&token), &body)
        };
        let lines =
            |request: reqwest::RequestBuilder| request.header("accept", "application/x-ndjson");
        let put = |path: &str| gateway.client.put(gateway.url(path)).bearer_auth(&token);
        for (what, request, allowed) in [
            ("GET", gateway.get("/write", Some(&token)), "POST"),
            ("GET", gateway.get("/sneaky_write", Some(&token)), "POST"),
            (
                "lines",
                lines(gateway.get("/rows_and_write", Some(&token))),
                "POST",
            ),
            (
                "POST",
                gateway.post("/sneaky_write", Some(&token), ""),
                "POST",
            ),
            (
                "lines",
                lines(gateway.post("/rows_and_sneak", Some(&token), "")),
                "POST",
            ),
            ("rpc", rpc("sneaky_write"), "POST"),
            (
                "key",
                gateway
                    .post("/says_405", Some(&token), "[null]")
                    .header("idempotency-key", "k"),
                "POST",
            ),
            (
                "the same key",
                gateway
                    .post("/says_405", Some(&token), "[null]")
                    .header("idempotency-key", "k"),
                "POST",
            ),
            ("raised", gateway.post("/refuses", Some(&token), ""), "POST"),
            ("raised", rpc("refuses"), "POST"),
            (
                "said",
                gateway.post("/says_405", Some(&token), "[null]"),
                "POST",
            ),
            (
                "said",
                gateway.post("/says_405", Some(&token), "[\"GET\"]"),
                "GET",
            ),
            ("path", put(""), "POST"),
            ("path", put("/add"), "GET,HEAD,POST"),
            ("path", put("/openapi.json"), "GET,HEAD"),
        ] {
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{what}");
            let allow = answer.headers().get("allow");
            let allow = allow.and_then(|value| value.to_str().ok());
            assert_eq!(allow, Some(allowed), "{what}: {}", answer.url());
        }
        // Nothing of that was written, and other answers have no such header.
        let answer = gateway.post("/written", Some(&token), "").send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.headers().get("allow"), None);
        assert_eq!(answer.text().await.expect("a body"), "0");
    })
    .await;
}

#[tokio::test]
async fn batches_are_independent_or_atomic() {
    for_each_version(async |db| {
        let (gateway, token) = ready(db, Options::default()).await;
        let body = json!([
            {"jsonrpc": "2.0", "id": 1, "method": "write"},
            {"jsonrpc": "2.0", "id": "two", "method": "broken"},
            {"jsonrpc": "2.0", "method": "write"},
            {"no": "request"},
        ])
        .to_string();
        let (status, answer) = text(gateway.post("", Some(&token), &body)).await;
        let answer: Value = serde_json::from_str(&answer).expect("an array");
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer.as_array().map(Vec::len), Some(3), "{answer}");
        assert_eq!(answer[0]["id"], 1);
        assert_eq!(answer[1]["error"]["data"]["sqlstate"], "P0001");
        assert_eq!(answer[2]["error"]["code"], -32600);
        assert_eq!(gateway.call(&token, "written", "").await.1, "2");

        let atomic = gateway
            .post("", Some(&token), &body)
            .header("rolegate-atomic", "true");
        let (_, answer) = text(atomic).await;
        assert!(answer.contains("batch_aborted"), "{answer}");
        assert_eq!(
            gateway.call(&token, "written", "").await.1,
            "2",
            "nothing was done"
        );

        let notification = json!({"jsonrpc": "2.0", "method": "write"}).to_string();
        let (status, body) = text(gateway.post("", Some(&token), &notification)).await;
        assert_eq!((status, body.as_str()), (StatusCode::NO_CONTENT, ""));
        let envelope = gateway.rpc(&token, "add", json!([1, 2])).await;
        assert_eq!(envelope, json!({"jsonrpc": "2.0", "id": 1, "result": 3}));
    })
    .await;
}

#[tokio::test]
async fn an_idempotency_key_runs_the_function_once() {
    for_each_version(async |db| {
        let (gateway, token) = ready(db, Options::default()).await;
        let keyed = |key: &'static str| {
            text(
                gateway
                    .post("/write", Some(&token), "")
                    .header("idempotency-key", key),
            )
        };
        // Two at once: the second waits for the first and gets its result.
        let (first, second) = tokio::join!(keyed("a"), keyed("a"));
        assert_eq!(first, second);
        assert_eq!(
            first.0,
            StatusCode::CREATED,
            "the function's own status: {first:?}"
        );
        assert_eq!(keyed("a").await, first);
        assert_eq!(gateway.call(&token, "written", "").await.1, "1");
        let other = gateway
            .post("/add", Some(&token), r#"{"a": 1}"#)
            .header("idempotency-key", "b");
        assert_eq!(text(other).await.0, StatusCode::OK);
        let other = gateway
            .post("/add", Some(&token), r#"{"a": 2}"#)
            .header("idempotency-key", "b");
        assert_eq!(text(other).await.0, StatusCode::CONFLICT);
        // A failure is not kept.
        let failing = || {
            text(
                gateway
                    .post("/fails_once", Some(&token), "")
                    .header("idempotency-key", "c"),
            )
        };
        assert_eq!(failing().await.0, StatusCode::BAD_REQUEST);
        db.superuser()
            .await
            .batch_execute("update app_state set fail = false")
            .await
            .expect("ok");
        assert_eq!(failing().await.0, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn rows_are_streamed_and_a_failure_breaks_the_stream_off() {
    for_each_version(async |db| {
        let (gateway, token) = ready(db, Options::default()).await;
        let lines = |function: &str, params: &str| {
            gateway
                .post(&format!("/{function}"), Some(&token), params)
                .header("accept", "application/x-ndjson")
        };
        let (status, body) = text(lines("series", "[5]")).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "1\n2\n3\n4\n5\n"));
        // An error after rows went out: the last line says so, and the transfer is cut.
        let response = lines("series_then_error", "[200000]")
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        assert!(
            response.bytes().await.is_err(),
            "the transfer looks complete"
        );
        // The connection is usable afterwards.
        assert_eq!(gateway.call(&token, "add", "[1,2]").await.1, "3");
    })
    .await;
}

#[tokio::test]
async fn limits_hold_and_the_session_goes_on() {
    for_each_version(async |db| {
        let budget = DefaultBudget {
            statement_timeout: Duration::from_millis(300),
            max_rows: 1000,
            ..DefaultBudget::default()
        };
        let (gateway, token) = ready(
            db,
            Options {
                budget,
                ..Options::default()
            },
        )
        .await;
        let (status, body) = gateway.call(&token, "sleepy", "[10]").await;
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{body}");
        let (status, _) = gateway.call(&token, "series", "[100000]").await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(gateway.call(&token, "add", "[1,2]").await.1, "3");
        let large = format!(r#"{{"a": "{}"}}"#, "x".repeat(3 * 1024 * 1024));
        assert_eq!(
            gateway.call(&token, "echo", &large).await.0,
            StatusCode::PAYLOAD_TOO_LARGE
        );
        let form = gateway
            .client
            .post(gateway.url("/add"))
            .bearer_auth(&token)
            .header("content-type", "text/plain")
            .body("[1,2]");
        assert_eq!(text(form).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let dry = gateway
            .post("/write", Some(&token), "")
            .header("prefer", "tx=rollback");
        assert_eq!(text(dry).await.0, StatusCode::CREATED);
        assert_eq!(gateway.call(&token, "written", "").await.1, "0");
    })
    .await;
}

#[tokio::test]
async fn stopping_lets_running_calls_end() {
    for_each_version(async |db| {
        let (gateway, token) = ready(db, Options::default()).await;
        let running = gateway.post("/sleepy", Some(&token), "[0.5]").send();
        let stop = async {
            // The call runs once its statement is seen.
            let watcher = db.superuser().await;
            loop {
                let row = watcher
                    .query_one(
                        "select count(*) from pg_stat_activity where datname = current_database() \
                         and wait_event = 'PgSleep'",
                        &[],
                    )
                    .await
                    .expect("activity");
                if row.get::<_, i64>(0) > 0 {
                    break;
                }
            }
            gateway.stop.cancel();
            gateway.listeners.wait().await;
        };
        let (answer, ()) = tokio::join!(running, stop);
        assert_eq!(answer.expect("not cut off").status(), StatusCode::OK);
        assert!(
            gateway
                .post("/add", Some(&token), "[1,2]")
                .send()
                .await
                .is_err(),
            "still there"
        );
    })
    .await;
}
