//! Functions that say by their answer that they are done.

use std::time::Duration;

use rolegate_auth::callback::{Presented, Verifier};
use rolegate_outbound::GateConfig;
use rolegate_server::http_jobs::Mode;
use rolegate_testkit::{Asked, HttpEndpoint, Reply, for_each_version};
use serde_json::{Value, json};

use super::stage::{Stage, kind};
use crate::harness::{current, now};

/// A function that answers as its arguments say.
async fn obedient() -> HttpEndpoint {
    HttpEndpoint::start(async |asked: Asked| {
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        let args = &body["args"];
        let status = args["status"].as_u64().and_then(|n| u16::try_from(n).ok());
        let text = args["body"].as_str().unwrap_or_default();
        let reply = Reply::of(status.unwrap_or(200), text);
        match args["then"].as_str() {
            Some("silence") => Reply::Silence,
            Some("close") => Reply::Close,
            Some("bytes") => Reply::Bytes(vec![(Duration::ZERO, text.as_bytes().to_vec())]),
            Some("latin") => Reply::Answer(200, vec![], b"\xe9t\xe9".to_vec()),
            Some("elsewhere") => reply.with("location", "http://127.0.0.1:9/"),
            Some(after) => reply.with("retry-after", after),
            None => reply,
        }
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_gets_the_job_and_its_answer_is_the_output() {
    for_each_version(async |db| {
        let endpoint = obedient().await;
        let stage = Stage::new(db, vec![kind("greet", &endpoint, Mode::Sync)]).await;
        let sql = "select rolegate.enqueue('greet', $1, max_attempts => 7, \
            trace => '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01')";
        let args = json!({"body": "{\"total\": 1.10, \"large\": 9007199254740993}", "n": 1});
        let row = stage.producer.query_one(sql, &[&args]).await.unwrap();
        let id: i64 = row.get(0);
        let job = stage.becomes(id, "completed").await;
        assert_eq!(
            job["output"].to_string(),
            r#"{"large":9007199254740993,"total":1.1}"#
        );

        let asked = &endpoint.asked()[0];
        assert_eq!(asked.line, "POST /greet?key=hunter2 HTTP/1.1");
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        let expected = json!({
            "job_id": id, "kind": "greet", "args": args, "attempt": 1, "max_attempts": 7,
        });
        assert_eq!(body, expected);
        let name = format!("app-{id}");
        for (header, value) in [
            ("content-type", "application/json"),
            ("idempotency-key", &*name),
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
            ("x-tenant", "a"),
        ] {
            assert_eq!(asked.header(header), [value]);
        }
        assert!(asked.header("x-awa-signature").is_empty());
        let presented = Presented {
            signatures: &[asked.header("rolegate-signature")[0].as_bytes()],
            timestamps: &[asked.header("rolegate-timestamp")[0].as_bytes()],
            legacy: &[],
        };
        let verifier = Verifier::new(vec![current()]).unwrap();
        let accepted = verifier.verify_request(presented, "POST", &name, &asked.body, now());
        assert_eq!(accepted.expect("it is signed").key_id, "current");
        stage.end().await;
    })
    .await;
}

/// Arguments, the state that the job comes to, and its output, reason, or wait in seconds.
type Case = (Value, &'static str, Value);

/// Waits of about that long may be over when one looks.
const SOON: u64 = 2;

fn cases() -> Vec<Case> {
    let mut cases = vec![
        (json!({"status": 204}), "completed", Value::Null),
        (
            json!({"status": 201, "body": " [1]\n"}),
            "completed",
            json!([1]),
        ),
        (json!({"body": "OK"}), "completed", json!("OK")),
        (json!({"then": "latin"}), "completed", Value::Null),
    ];
    for status in [300, 301, 302, 303, 304, 307, 308] {
        let args = json!({"status": status, "then": "elsewhere"});
        cases.push((args, "failed", json!("function_redirected")));
    }
    for status in [400, 401, 403, 404, 405, 409, 410, 413, 422, 451, 499, 600] {
        // The text goes into the error without what is not for people.
        let args = json!({"status": status, "body": "no\u{7}"});
        cases.push((args, "failed", json!("function_refused")));
    }
    for (args, reason) in [
        (json!({"body": "x".repeat(1025)}), "answer_too_large"),
        (json!({"pad": "x".repeat(5000)}), "request_too_large"),
        (json!({"body": "\"\\u0000\""}), "not_storable"),
    ] {
        cases.push((args, "failed", json!(reason)));
    }
    for status in [408, 425, 429, 500, 501, 502, 503, 504] {
        let args = json!({"status": status, "then": "100"});
        cases.push((args, "retryable", json!(100)));
    }
    let cut = "HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\n12";
    for (args, wait) in [
        (
            json!({"status": 503, "then": "Mon, 21 Nov 2044 13:00:00 GMT"}),
            86_400,
        ),
        (json!({"status": 503, "then": "soon"}), SOON),
        (json!({"status": 429}), SOON),
        (json!({"then": "silence"}), SOON),
        (json!({"then": "close"}), SOON),
        (json!({"then": "bytes", "body": "nonsense"}), SOON),
        (json!({"then": "bytes", "body": cut}), SOON),
    ] {
        cases.push((args, "retryable", json!(wait)));
    }
    cases
}

async fn check(stage: &Stage, id: i64, (args, ends, expected): Case) {
    if expected == json!(SOON) {
        stage.failed_once(id).await;
        return;
    }
    let job = stage.becomes(id, ends).await;
    match ends {
        "completed" => assert_eq!(job["output"], expected, "{args}"),
        "failed" => {
            assert_eq!(job["reason"], expected, "{args}: {job}");
            assert_eq!(job["attempt"], 1, "{args}: tried once");
            if let Some(status) = args["status"].as_u64() {
                assert_eq!(job["error"]["status"], status);
                let message = format!("the function answered {status}");
                assert_eq!(job["error"]["message"], message);
            }
            assert!(job["error"]["body"].is_null() || job["error"]["body"] == "no");
        }
        _ => {
            let (wait, most) = (job["wait"].as_f64().unwrap(), expected.as_f64().unwrap());
            assert!(wait <= most && wait > most - 20.0, "{args}: {wait}");
            assert_eq!(job["attempt"], 1, "{args}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_means_for_the_job() {
    for_each_version(async |db| {
        let endpoint = obedient().await;
        let gate = GateConfig {
            // The breaker has a test of its own.
            failures: 1000,
            ..GateConfig::default()
        };
        let stage = Stage::with(db, vec![kind("f", &endpoint, Mode::Sync)], gate).await;
        let mut jobs = Vec::new();
        for case in cases() {
            jobs.push((stage.enqueue("f", &case.0).await, case));
        }
        let sent = jobs.len() - 1;
        for (id, case) in jobs {
            check(&stage, id, case).await;
        }
        assert!(endpoint.asked().len() >= sent, "all but the large one");
        stage.end().await;
    })
    .await;
}

/// The operator's headers and URL are nobody else's business.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_does_not_show_the_url() {
    for_each_version(async |db| {
        let endpoint = obedient().await;
        let kinds = vec![kind("f", &endpoint, Mode::Sync)];
        drop(endpoint);
        let stage = Stage::new(db, kinds).await;
        let id = stage.enqueue("f", &json!({})).await;
        let job = stage.becomes(id, "retryable").await;
        let errors = job["errors"].to_string();
        assert!(errors.contains("no connection"), "{errors}");
        assert!(!errors.contains("hunter2"), "{errors}");
        stage.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_attempt_has_the_same_idempotency_key() {
    for_each_version(async |db| {
        let endpoint = HttpEndpoint::start(async |asked: Asked| {
            let body: Value = serde_json::from_slice(&asked.body).unwrap();
            match body["attempt"].as_u64() {
                Some(1) => Reply::of(503, "").with("retry-after", "1"),
                _ => Reply::of(200, "{}"),
            }
        })
        .await
        .unwrap();
        let stage = Stage::new(db, vec![kind("f", &endpoint, Mode::Sync)]).await;
        let id = stage.enqueue("f", &json!({})).await;
        stage.becomes(id, "completed").await;
        let asked = endpoint.asked();
        let names: Vec<_> = asked
            .iter()
            .map(|one| one.header("idempotency-key"))
            .collect();
        let name = format!("app-{id}");
        assert_eq!(names, [[&*name], [&*name]]);
        stage.end().await;
    })
    .await;
}
