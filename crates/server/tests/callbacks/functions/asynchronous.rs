//! Functions that call back, through the receiver.

use std::sync::Arc;

use rolegate_auth::callback::{Action, Key, SIGNATURE_HEADER, TIMESTAMP_HEADER, legacy};
use rolegate_jobs::CallbackRules;
use rolegate_server::callbacks::Callers;
use rolegate_server::http_jobs::{CallBack, Mode};
use rolegate_testkit::{Asked, HttpEndpoint, Reply, for_each_version};
use serde_json::{Value, json};
use uuid::Uuid;

use super::stage::{Stage, calls, kind};
use crate::harness::{Receiver, config, current, now, signature, verifier};

fn body(asked: &Asked) -> Value {
    serde_json::from_slice(&asked.body).unwrap()
}

/// A function that accepts whatever it gets.
async fn accepting() -> HttpEndpoint {
    HttpEndpoint::always(Reply::of(202, "later")).await.unwrap()
}

/// What the n-th request (from 1) said, when it is there.
async fn request(endpoint: &HttpEndpoint, n: usize) -> Value {
    for _ in 0..1500 {
        if let Some(asked) = endpoint.asked().get(n - 1) {
            return body(asked);
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("there was no request {n}");
}

fn id(request: &Value) -> String {
    request["callback_id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_the_call_of_its_function() {
    for_each_version(async |db| {
        let (endpoint, receiver) = (accepting().await, Receiver::start(db).await);
        let mode = Mode::Async(calls(&receiver));
        let stage = Stage::new(db, vec![kind("f", &endpoint, mode)]).await;
        let job = stage.enqueue("f", &json!({"n": 1})).await;
        stage.becomes(job, "waiting_external").await;
        let request = request(&endpoint, 1).await;
        let id = id(&request);
        assert!(Uuid::parse_str(&id).is_ok());
        assert_eq!(request["callback_url"], receiver.url(&id, Action::Complete));
        let beat = receiver
            .call(&id, Action::Heartbeat, r#"{"progress": {"percent": 5}}"#)
            .await;
        assert_eq!(beat.state(), "waiting_external");
        let payload = r#"{"payload": {"pages": 3}}"#;
        let answer = receiver.call(&id, Action::Complete, payload).await;
        assert_eq!(answer.state(), "completed");
        let job = stage.becomes(job, "completed").await;
        assert_eq!(job["output"], json!({"pages": 3}));
        // Once more, and something else.
        let again = receiver.call(&id, Action::Complete, payload).await;
        assert!(again.is_replay(), "{again:?}");
        let other = receiver.call(&id, Action::Fail, "{}").await;
        other.refused(409, "callback_conflict");
        stage.end().await;
    })
    .await;
}

/// The function is done before it has answered the request.
#[tokio::test(flavor = "multi_thread")]
async fn an_early_call_is_kept() {
    for_each_version(async |db| {
        let receiver = Arc::new(Receiver::start(db).await);
        let calling = Arc::clone(&receiver);
        let endpoint = HttpEndpoint::start(move |asked: Asked| {
            let receiver = Arc::clone(&calling);
            async move {
                let id = id(&body(&asked));
                let call = receiver.call(&id, Action::Complete, r#"{"payload": 1}"#);
                assert_eq!(call.await.state(), "running");
                Reply::of(200, "")
            }
        });
        let endpoint = endpoint.await.unwrap();
        let mode = Mode::Async(calls(&receiver));
        let stage = Stage::new(db, vec![kind("f", &endpoint, mode)]).await;
        let job = stage.enqueue("f", &json!({})).await;
        let job = stage.becomes(job, "completed").await;
        assert_eq!(job["output"], 1);
        assert_eq!(endpoint.asked().len(), 1);
        stage.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_fails_is_asked_again_with_another_callback() {
    for_each_version(async |db| {
        let (endpoint, receiver) = (accepting().await, Receiver::start(db).await);
        let mode = Mode::Async(calls(&receiver));
        let stage = Stage::new(db, vec![kind("f", &endpoint, mode)]).await;
        let job = stage.enqueue("f", &json!({})).await;
        stage.becomes(job, "waiting_external").await;
        let first = request(&endpoint, 1).await;
        // Nobody said that it may be resumed.
        let resumed = receiver.call(&id(&first), Action::Resume, "{}").await;
        resumed.refused(409, "callback_conflict");
        let failed = receiver
            .call(&id(&first), Action::Fail, r#"{"error": "not yet"}"#)
            .await;
        assert_eq!(failed.state(), "retryable");
        let second = request(&endpoint, 2).await;
        assert_eq!(
            (&first["attempt"], &second["attempt"]),
            (&json!(1), &json!(2))
        );
        assert_ne!(first["callback_id"], second["callback_id"]);
        let names: Vec<String> = endpoint
            .asked()
            .iter()
            .map(|asked| asked.header("idempotency-key")[0].to_owned())
            .collect();
        assert_eq!(names[0], names[1]);
        stage.becomes(job, "waiting_external").await;
        let failed = receiver
            .call(
                &id(&second),
                Action::Fail,
                r#"{"error": "never", "terminal": true}"#,
            )
            .await;
        assert_eq!(failed.state(), "failed");
        stage.end().await;
    })
    .await;
}

/// The function did not take it over: its callback is void with the attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_failed_leaves_no_callback_behind() {
    for_each_version(async |db| {
        let receiver = Receiver::start(db).await;
        let endpoint = HttpEndpoint::always(Reply::of(422, "no")).await.unwrap();
        let mode = Mode::Async(calls(&receiver));
        let stage = Stage::new(db, vec![kind("f", &endpoint, mode)]).await;
        let job = stage.enqueue("f", &json!({})).await;
        assert_eq!(
            stage.becomes(job, "failed").await["reason"],
            "function_refused"
        );
        let id = id(&request(&endpoint, 1).await);
        let late = receiver.call(&id, Action::Complete, "{}").await;
        late.refused(410, "callback_gone");
        stage.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_several_steps_is_resumed() {
    for_each_version(async |db| {
        let (endpoint, receiver) = (accepting().await, Receiver::start(db).await);
        let mode = Mode::Async(CallBack {
            resumable: true,
            ..calls(&receiver)
        });
        let stage = Stage::new(db, vec![kind("f", &endpoint, mode)]).await;
        let job = stage.enqueue("f", &json!({"n": 1})).await;
        stage.becomes(job, "waiting_external").await;
        let first = request(&endpoint, 1).await;
        assert!(first.get("resume").is_none());
        let resumed = receiver
            .call(&id(&first), Action::Resume, r#"{"payload": {"step": 2}}"#)
            .await;
        assert_eq!(resumed.state(), "available");
        let second = request(&endpoint, 2).await;
        assert_eq!(second["resume"]["payload"], json!({"step": 2}));
        assert_eq!(second["resume"]["callback"], first["callback_id"]);
        assert_eq!(second["args"], json!({"n": 1}));
        // The same attempt as far as counting goes, and another piece of work.
        assert_eq!(second["attempt"], 1);
        let asked = endpoint.asked();
        let names: Vec<_> = asked
            .iter()
            .map(|one| one.header("idempotency-key")[0])
            .collect();
        assert_eq!(names[1], format!("{}-{}", names[0], id(&first)));
        stage.becomes(job, "waiting_external").await;
        let done = receiver.call(&id(&second), Action::Complete, "{}").await;
        assert_eq!(done.state(), "completed");
        stage.end().await;
    })
    .await;
}

/// What the configuration says about a kind goes along with each of its waits.
#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_a_kind_are_those_of_its_callbacks() {
    for_each_version(async |db| {
        let (endpoint, receiver) = (accepting().await, Receiver::start(db).await);
        let rules = CallbackRules::new()
            .filter("payload.n == 5")
            .transform("{'of': payload.n}");
        let mode = Mode::Async(CallBack {
            rules: Some(rules),
            ..calls(&receiver)
        });
        let stage = Stage::new(db, vec![kind("f", &endpoint, mode)]).await;
        let job = stage.enqueue("f", &json!({})).await;
        stage.becomes(job, "waiting_external").await;
        let id = id(&request(&endpoint, 1).await);
        let call = async |n: i32| {
            let body = format!("{{\"payload\": {{\"n\": {n}, \"x\": 0}}}}");
            receiver.call(&id, Action::Complete, &body).await
        };
        assert_eq!(call(4).await.body["ignored"], true);
        assert_eq!(call(5).await.state(), "completed");
        let done = stage.becomes(job, "completed").await;
        assert_eq!(done["output"], json!({"of": 5}));
        stage.end().await;
    })
    .await;
}

/// A function as the peer's documentation has it: it gives back the header that it got, and calls
/// the URL that it was told.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_made_for_the_peer_works_if_that_is_switched_on() {
    for_each_version(async |db| {
        let callers = Callers::Signed(verifier().accept_legacy(true));
        let receiver = Receiver::start_with(db, config(callers)).await;
        let client = reqwest::Client::new();
        let endpoint = HttpEndpoint::start(move |asked: Asked| {
            let client = client.clone();
            async move {
                let request = body(&asked);
                assert!(request["job_id"].is_i64() && request["max_attempts"].is_i64());
                let call = client
                    .post(request["callback_url"].as_str().unwrap())
                    .header("x-awa-signature", asked.header("x-awa-signature")[0])
                    .json(&json!({"payload": {"of": request["args"]["n"]}}));
                tokio::spawn(async move {
                    let answer = call.send().await.unwrap();
                    assert_eq!(answer.status(), 200);
                });
                Reply::of(202, "accepted")
            }
        });
        let endpoint = endpoint.await.unwrap();
        let mode = Mode::Async(CallBack {
            legacy_signature: true,
            ..calls(&receiver)
        });
        let mut kind = kind("f", &endpoint, mode);
        kind.key = Some(Key::new("current", [7; 32]).unwrap());
        let stage = Stage::new(db, vec![kind]).await;
        let job = stage.enqueue("f", &json!({"n": 5})).await;
        assert_eq!(
            stage.becomes(job, "completed").await["output"],
            json!({"of": 5})
        );
        let asked = &endpoint.asked()[0];
        let id = id(&body(asked));
        assert_eq!(
            asked.header("x-awa-signature"),
            [legacy::sign(&current(), &id)]
        );
        stage.end().await;
    })
    .await;
}

/// What signs a request answers no callback, and without being told so the worker gives nobody
/// anything that does.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_gives_away_nothing_that_answers_it() {
    for_each_version(async |db| {
        let callers = Callers::Signed(verifier().accept_legacy(true));
        let receiver = Receiver::start_with(db, config(callers)).await;
        let endpoint = accepting().await;
        let mode = Mode::Async(calls(&receiver));
        let stage = Stage::new(db, vec![kind("f", &endpoint, mode)]).await;
        let job = stage.enqueue("f", &json!({})).await;
        stage.becomes(job, "waiting_external").await;
        let asked = &endpoint.asked()[0];
        let id = id(&body(asked));
        // Beside the other one it would not count.
        assert!(asked.header("x-awa-signature").is_empty());
        let mut call = receiver.bare(&id, Action::Complete, "{}");
        for (name, value) in &asked.headers {
            if name.contains("signature") || name.contains("timestamp") {
                call = call.header(name, value);
            }
        }
        assert_eq!(call.send().await.unwrap().status(), 401);
        let at = now();
        let signature = signature(&current(), &id, Action::Complete, "{}", at);
        let call = receiver
            .bare(&id, Action::Complete, "{}")
            .header(SIGNATURE_HEADER, signature)
            .header(TIMESTAMP_HEADER, at);
        assert_eq!(call.send().await.unwrap().status(), 200);
        stage.becomes(job, "completed").await;
        stage.end().await;
    })
    .await;
}
