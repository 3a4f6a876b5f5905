//! Waits whose rules say what an answer means, judged under the receiver's own login.

use std::time::Duration;

use futures_util::future::join_all;
use rolegate_auth::callback::{Action, legacy};
use rolegate_server::callbacks::Callers;
use rolegate_testkit::for_each_version;
use serde_json::{Value, json};
use tokio_postgres::types::ToSql;

use crate::harness::{Answer, Desk, Receiver, config, current, verifier};

fn payment() -> Value {
    json!({
        "filter": "payload.order == 17",
        "on_fail": "payload.status == 'declined'",
        "on_complete": "payload.status == 'paid'",
        "transform": "{'receipt': payload.receipt, 'total': payload.total}",
    })
}

const PAID: &str =
    r#"{"payload": {"order": 17, "status": "paid", "receipt": "r1", "total": 1.10, "x": 1}}"#;
const PENDING: &str = r#"{"payload": {"order": 17, "status": "pending"}}"#;
const DECLINED: &str = r#"{"payload": {"order": 17, "status": "declined"}}"#;
const OTHER: &str = r#"{"payload": {"order": 18}}"#;

#[track_caller]
fn ignored(answer: &Answer, job: i64, state: &str) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected = json!({"id": job, "state": state, "ignored": true});
    assert_eq!(answer.body, expected);
}

#[tokio::test]
async fn an_answer_is_ignored_until_one_means_something() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let (job, id) = desk.parked_with(&payment()).await;
        for _ in 0..2 {
            for body in [OTHER, PENDING] {
                let answer = receiver.call(&id, Action::Complete, body).await;
                ignored(&answer, job.root, "waiting_external");
                assert!(!answer.is_replay());
            }
        }
        assert_eq!(desk.place(job.root).await, "parked waiting 0");
        let answer = receiver.call(&id, Action::Complete, PAID).await;
        assert_eq!(answer.state(), "completed");
        let sql = format!(
            "select output::text from rolegate.job_parked where root = {}",
            job.root
        );
        // The number as it was written.
        let kept = r#"{"total": 1.10, "receipt": "r1"}"#;
        assert_eq!(desk.value(&sql).await, json!(kept));
        // What answered is known again, what was ignored is another call now.
        assert!(receiver.call(&id, Action::Complete, PAID).await.is_replay());
        let late = receiver.call(&id, Action::Complete, PENDING).await;
        late.refused(409, "callback_conflict");
        let resumed = receiver.call(&id, Action::Resume, PAID).await;
        resumed.refused(409, "callback_conflict");
    })
    .await;
}

#[tokio::test]
async fn an_answer_may_mean_failure() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let (job, id) = desk.parked_with(&payment()).await;
        let answer = receiver.call(&id, Action::Complete, DECLINED).await;
        assert_eq!(answer.state(), "retryable");
        assert_eq!(desk.place(job.root).await, "deferred 1");
        let sql = format!(
            "select options #> '{{errors,0,error}}' from rolegate.job_deferred where root = {}",
            job.root
        );
        let error = desk.value(&sql).await;
        assert_eq!(error["rule"], "on_fail");
        assert_eq!(error["payload"]["status"], "declined");
        let again = receiver.call(&id, Action::Complete, DECLINED).await;
        assert!(again.is_replay());
        assert_eq!(again.body, json!({"id": job.root, "state": "retryable"}));
        let fail = receiver.call(&id, Action::Fail, DECLINED).await;
        fail.refused(409, "callback_conflict");

        let mut rules = payment();
        rules["terminal"] = true.into();
        let (job, id) = desk.parked_with(&rules).await;
        let answer = receiver.call(&id, Action::Resume, DECLINED).await;
        assert_eq!(answer.state(), "failed");
        let place = desk.place(job.root).await;
        assert!(place.starts_with("failed terminal_error 1"), "{place}");

        let rules = json!({"on_complete": "payload == 1", "default": "fail"});
        let (_, id) = desk.parked_with(&rules).await;
        let answer = receiver.call(&id, Action::Complete, "").await;
        assert_eq!(answer.state(), "retryable");
    })
    .await;
}

#[tokio::test]
async fn a_rule_without_a_value_decides_nothing() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let (job, id) = desk.parked_with(&payment()).await;
        for action in [Action::Complete, Action::Resume] {
            for (body, what) in [
                ("", "`filter` has no value for this answer: wrong_type"),
                (
                    r#"{"payload": {"order": 17, "status": "paid", "hunter2": 1}}"#,
                    "`transform` has no value for this answer: no_such_key",
                ),
            ] {
                let answer = receiver.call(&id, action, body).await;
                answer.refused(422, "callback_not_judged");
                let said = answer.body.to_string();
                assert!(said.contains(what) && !said.contains("hunter2"), "{said}");
                assert!(!said.contains("receipt"), "nor the rule's text: {said}");
            }
        }
        let deep = format!("{{\"payload\": {}{}}}", "[".repeat(70), "]".repeat(70));
        let answer = receiver.call(&id, Action::Complete, &deep).await;
        answer.refused(422, "callback_not_judged");
        assert_eq!(desk.place(job.root).await, "parked waiting 0");
        // It still waits.
        let answer = receiver.call(&id, Action::Complete, PAID).await;
        assert_eq!(answer.state(), "completed");

        // What costs too much, and what is no expression: a worker of somebody else's may register it.
        let payload = format!("{{\"payload\": [{}1]}}", "1,".repeat(1_500));
        let product = "payload.all(a, payload.all(b, payload.all(c, a + b + c == 3)))";
        for rules in [json!({"filter": product}), json!({"filter": "payload ="})] {
            let (job, id) = desk.parked_with(&rules).await;
            let answer = receiver.call(&id, Action::Complete, &payload).await;
            answer.refused(422, "callback_not_judged");
            assert_eq!(desk.place(job.root).await, "parked waiting 0");
            // A failure needs no judgement.
            let failed = receiver.call(&id, Action::Fail, "").await;
            assert_eq!(failed.state(), "retryable");
        }
    })
    .await;
}

#[tokio::test]
async fn a_resumption_is_judged_as_well() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let rules = json!({"filter": "has(payload.step)", "transform": "payload.step + 1"});
        let (job, id) = desk.parked_with(&rules).await;
        let answer = receiver
            .call(&id, Action::Resume, r#"{"payload": {}}"#)
            .await;
        ignored(&answer, job.root, "waiting_external");
        let body = r#"{"payload": {"step": 1}}"#;
        let answer = receiver.call(&id, Action::Resume, body).await;
        assert_eq!(answer.state(), "available");
        let back = desk.claim().await.expect("it is back");
        assert_eq!(
            back.options["resume"],
            json!({"callback": id, "payload": 2})
        );
        // The next wait has rules of its own; an answer to the first one does not count for it.
        let next = desk.register_with(&back, &payment()).await;
        desk.park(&back).await;
        assert!(receiver.call(&id, Action::Resume, body).await.is_replay());
        let stale = receiver.call(&id, Action::Complete, PAID).await;
        stale.refused(409, "callback_conflict");
        assert_eq!(desk.place(job.root).await, "parked waiting 0");
        let answer = receiver.call(&next, Action::Complete, PAID).await;
        assert_eq!(answer.state(), "completed");
    })
    .await;
}

/// The rules are there as soon as anybody can know the id.
#[tokio::test]
async fn an_early_answer_is_judged_when_it_comes() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let job = desk.job().await;
        let id = desk.register_with(&job, &payment()).await;
        let answer = receiver.call(&id, Action::Complete, OTHER).await;
        ignored(&answer, job.root, "running");
        let answer = receiver.call(&id, Action::Complete, "").await;
        answer.refused(422, "callback_not_judged");
        assert_eq!(
            receiver.call(&id, Action::Complete, PAID).await.state(),
            "running"
        );
        assert!(receiver.call(&id, Action::Complete, PAID).await.is_replay());
        desk.park(&job).await;
        assert_eq!(desk.place(job.root).await, "parked completed 0");

        let job = desk.job().await;
        let id = desk.register_with(&job, &payment()).await;
        let answer = receiver.call(&id, Action::Complete, DECLINED).await;
        assert_eq!(answer.state(), "running");
        desk.park(&job).await;
        assert_eq!(desk.place(job.root).await, "deferred 1");
    })
    .await;
}

/// Between the two steps of a call anything may happen; what the database says at the second one counts.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_judged_meet_others() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        for round in 0..10 {
            let (job, id) = desk.parked_with(&payment()).await;
            let calls = (0..12).map(|n| {
                let (receiver, id) = (&receiver, &id);
                async move {
                    match n % 4 {
                        0 => receiver.call(id, Action::Complete, PAID).await,
                        1 => receiver.call(id, Action::Complete, DECLINED).await,
                        2 => receiver.call(id, Action::Complete, PENDING).await,
                        _ => receiver.call(id, Action::Fail, "").await,
                    }
                }
            });
            let answers = join_all(calls).await;
            let counted =
                |answer: &&Answer| answer.status == 200 && answer.body.get("ignored").is_none();
            let first: Vec<_> = answers
                .iter()
                .filter(counted)
                .filter(|a| !a.is_replay())
                .collect();
            assert_eq!(first.len(), 1, "round {round}: {answers:?}");
            for lost in answers.iter().filter(|answer| answer.status != 200) {
                lost.refused(409, "callback_conflict");
            }
            let place = match first[0].state() {
                "completed" => "parked completed 0",
                "retryable" => "deferred 1",
                other => panic!("{other}"),
            };
            assert_eq!(desk.place(job.root).await, place);
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_judged_by_other_rules_changes_nothing() {
    for_each_version(async |db| {
        let desk = Desk::open(db).await;
        let receiver = db.connect_as("rolegate_receiver").await;
        let (job, id) = desk.parked_with(&payment()).await;
        let call = async |judged: Value| {
            let sql = "select verdict, rules from rolegate.callback_complete($1::text::uuid, '1', 'x', $2)";
            let row = receiver.query_one(sql, &[&id, &judged]).await.unwrap();
            (row.get::<_, String>(0), row.get::<_, Option<Value>>(1))
        };
        let mut others = payment();
        others["filter"] = "true".into();
        for judged in [Value::Null, json!({}), json!({"by": null}), json!({"by": others})] {
            assert_eq!(call(judged).await, ("judge".to_owned(), Some(payment())));
        }
        assert_eq!(desk.place(job.root).await, "parked waiting 0");
        assert_eq!(call(json!({"by": payment()})).await.0, "ok");
        assert_eq!(desk.place(job.root).await, "parked completed 0");
        // Without rules there is nothing that could have been judged by.
        let (_, id) = desk.parked().await;
        let sql = "select verdict from rolegate.callback_complete($1::text::uuid, '1', 'x', $2)";
        let row = receiver.query_one(sql, &[&id, &json!({"by": {}})]).await;
        assert_eq!(row.unwrap().get::<_, String>(0), "judge");
    })
    .await;
}

#[tokio::test]
async fn what_are_no_rules_is_not_registered() {
    for_each_version(async |db| {
        let desk = Desk::open(db).await;
        let job = desk.job().await;
        for rules in [
            json!([]),
            json!("true"),
            json!({"on_error": "true"}),
            json!({"filter": 1}),
            json!({"filter": ""}),
            json!({"filter": "x".repeat(4097)}),
            json!({"default": "retry"}),
            json!({"terminal": "yes"}),
            json!(null),
        ] {
            let sql = "select rolegate.register_callback($1, $2, $3, '1 hour', true, $4)";
            let attempt: [&(dyn ToSql + Sync); 4] = [&job.claim, &job.ordinal, &job.at, &rules];
            let refused = desk.worker.query_one(sql, &attempt).await;
            let error = refused.expect_err(&rules.to_string());
            let error = error.as_db_error().unwrap();
            assert_eq!(error.code().code(), "22023", "{rules}");
            assert_eq!(error.message(), "these are no rules of a callback");
            assert!(error.hint().is_some());
        }
    })
    .await;
}

/// Functions made for the peer know nothing of rules, and are judged by them.
#[tokio::test]
async fn calls_signed_as_the_peer_does_are_judged() {
    for_each_version(async |db| {
        let callers = Callers::Signed(verifier().accept_legacy(true));
        let (desk, receiver) = (
            Desk::open(db).await,
            Receiver::start_with(db, config(callers)).await,
        );
        let (job, id) = desk.parked_with(&payment()).await;
        let call = async |body: &str| {
            let request = receiver
                .bare(&id, Action::Complete, body)
                .header("x-awa-signature", legacy::sign(&current(), &id))
                .timeout(Duration::from_secs(10));
            Answer::of(request.send().await.unwrap()).await
        };
        ignored(&call(OTHER).await, job.root, "waiting_external");
        call("").await.refused(422, "callback_not_judged");
        assert_eq!(call(PAID).await.state(), "completed");
    })
    .await;
}
