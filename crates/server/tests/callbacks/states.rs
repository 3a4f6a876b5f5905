//! What each call does to a job in each state.

use rolegate_auth::callback::Action;
use rolegate_testkit::for_each_version;
use serde_json::json;

use crate::harness::{Answer, Desk, Receiver, now};

#[tokio::test]
async fn complete_stores_the_payload_as_the_output() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let (job, id) = desk.parked().await;
        assert_eq!(desk.place(job.root).await, "parked waiting 0");
        let body = r#"{"payload": {"n": 9007199254740993, "d": 1.10, "t": "ä€😀"}}"#;
        let answer = receiver.call(&id, Action::Complete, body).await;
        assert_eq!(answer.state(), "completed");
        assert_eq!(answer.body, json!({"id": job.root, "state": "completed"}));
        assert_eq!(desk.place(job.root).await, "parked completed 0");
        let output = "select output::text from rolegate.job_parked";
        assert_eq!(
            desk.value(output).await,
            r#"{"d": 1.10, "n": 9007199254740993, "t": "ä€😀"}"#
        );

        // The same once more, as after a lost answer: the recorded answer.
        let again = receiver
            .call_at(&id, Action::Complete, body, now() - 1)
            .await;
        assert!(again.is_replay());
        assert_eq!((again.status, &again.body), (200, &answer.body));
        // Anything else is too late.
        for (action, body) in [
            (Action::Complete, r#"{"payload": 1}"#),
            (Action::Fail, body),
            (Action::Resume, body),
        ] {
            let answer = receiver.call(&id, action, body).await;
            answer.refused(409, "callback_conflict");
        }
        let late = receiver.call(&id, Action::Heartbeat, "").await;
        late.refused(410, "callback_gone");
        assert_eq!(desk.place(job.root).await, "parked completed 0");
        assert_eq!(desk.value(output).await.as_str().map(str::len), Some(52));
    })
    .await;
}

#[tokio::test]
async fn fail_obeys_attempts_and_dead_letters_unless_it_is_terminal() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let body = r#"{"error": "card declined"}"#;

        let (job, id) = desk.parked().await;
        let answer = receiver.call(&id, Action::Fail, body).await;
        assert_eq!(answer.state(), "retryable");
        assert_eq!(desk.place(job.root).await, "deferred 1");
        let errors = "select options -> 'errors' -> 0 ->> 'error' from rolegate.job_deferred";
        assert_eq!(desk.value(errors).await, "card declined");

        // The last attempt.
        let sql = "select rolegate.enqueue('k', max_attempts => 1)";
        let job = desk.job_of(sql).await;
        let id = desk.register(&job, 60.0, false).await.unwrap();
        desk.park(&job).await;
        assert_eq!(
            receiver.call(&id, Action::Fail, body).await.state(),
            "failed"
        );
        assert_eq!(
            desk.place(job.root).await,
            "failed max_attempts_exhausted 1"
        );

        // Terminal, in a queue with dead letters.
        let sql = "update rolegate.job_queue set dead_letters = true";
        desk.superuser.batch_execute(sql).await.unwrap();
        let (job, id) = desk.parked().await;
        let terminal = r#"{"error": "no such account", "terminal": true}"#;
        assert_eq!(
            receiver.call(&id, Action::Fail, terminal).await.state(),
            "failed"
        );
        assert_eq!(desk.place(job.root).await, "failed terminal_error 1 dlq");
        let again = receiver.call(&id, Action::Fail, terminal).await;
        assert!(
            again.is_replay() && again.body["state"] == "failed",
            "{again:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn resume_gives_the_job_its_next_step() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let (job, first) = desk.parked().await;
        let answer = receiver
            .call(&first, Action::Resume, r#"{"payload": [1.0]}"#)
            .await;
        assert_eq!(answer.state(), "available");
        let step = desk.claim().await.expect("it is back");
        assert_eq!(
            (step.root, step.counted),
            (job.root, 0),
            "no attempt was counted"
        );
        assert_eq!(step.options["resume"]["callback"], first);
        assert_eq!(step.options["resume"]["payload"], json!([1.0]));

        // The next step has a callback of its own; the first one is over.
        let second = desk.register(&step, 60.0, false).await.unwrap();
        desk.park(&step).await;
        let again = receiver
            .call(&first, Action::Resume, r#"{"payload": [1.0]}"#)
            .await;
        assert!(again.is_replay(), "{again:?}");
        receiver
            .call(&first, Action::Complete, "")
            .await
            .refused(409, "callback_conflict");
        assert_eq!(desk.place(job.root).await, "parked waiting 0");
        // It was registered as the last.
        let refused = receiver.call(&second, Action::Resume, "").await;
        refused.refused(409, "callback_conflict");
        assert!(refused.body["hint"].as_str().unwrap().contains("resumable"));
        let done = receiver
            .call(&second, Action::Complete, r#"{"payload": "end"}"#)
            .await;
        assert_eq!(done.state(), "completed");
    })
    .await;
}

#[tokio::test]
async fn an_early_call_counts_once_the_job_waits() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        for (action, body, place) in [
            (Action::Complete, r#"{"payload": 5}"#, "parked completed 0"),
            (Action::Fail, r#"{"error": "x"}"#, "deferred 1"),
            (
                Action::Fail,
                r#"{"terminal": true}"#,
                "failed terminal_error 1",
            ),
            (Action::Resume, "", "lane 0"),
        ] {
            let job = desk.job().await;
            let id = desk.register(&job, 60.0, true).await.unwrap();
            let early = receiver.call(&id, action, body).await;
            assert_eq!(early.state(), "running", "{action}");
            assert_eq!(desk.place(job.root).await, "", "the attempt goes on");
            receiver
                .call(&id, Action::Heartbeat, "")
                .await
                .refused(410, "callback_gone");
            desk.park(&job).await;
            assert_eq!(desk.place(job.root).await, place, "{action}");
            let again = receiver.call(&id, action, body).await;
            assert!(again.is_replay(), "{again:?}");
            assert_eq!(again.body, early.body);
            if action == Action::Resume {
                assert!(desk.claim().await.is_some());
            }
        }
        assert_eq!(
            desk.value("select output from rolegate.job_parked").await,
            5
        );
    })
    .await;
}

#[tokio::test]
async fn a_heartbeat_extends_and_carries_progress() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let job = desk.job().await;
        let id = desk.register(&job, 60.0, false).await.unwrap();
        let left = "select round(extract(epoch from timeout_at - now()) / 10) * 10 from rolegate.job_callback";
        let progress = "select array[percent::text, message] from rolegate.job_progress";

        // Before the job waits.
        let body = r#"{"timeout_seconds": 600, "progress": {"percent": 5, "message": "began"}}"#;
        assert_eq!(receiver.call(&id, Action::Heartbeat, body).await.state(), "running");
        assert_eq!(desk.value(left).await, 600);
        desk.park(&job).await;
        assert_eq!(desk.value(progress).await, json!(["5", "began"]));
        // And then, an hour by default.
        let at = now();
        let answer = receiver.call_at(&id, Action::Heartbeat, "", at).await;
        assert_eq!(answer.state(), "waiting_external");
        assert_eq!(desk.value(left).await, 3600);
        assert_eq!(desk.value(progress).await, json!(["5", "began"]));
        let body = r#"{"timeout_seconds": 100, "progress": {"percent": 60}}"#;
        assert_eq!(receiver.call_at(&id, Action::Heartbeat, body, at).await.state(), "waiting_external");
        assert_eq!(desk.value(left).await, 100);
        assert_eq!(desk.value(progress).await, json!(["60", null]));

        // Played back, it extends nothing; said again, it does.
        let sql = "update rolegate.job_callback set timeout_at = now() + interval '20 s'";
        desk.superuser.batch_execute(sql).await.unwrap();
        let played = receiver.call_at(&id, Action::Heartbeat, body, at).await;
        assert!(played.is_replay(), "{played:?}");
        assert_eq!(desk.value(left).await, 20);
        assert_eq!(receiver.call_at(&id, Action::Heartbeat, body, at + 1).await.state(), "waiting_external");
        assert_eq!(desk.value(left).await, 100);

        // Progress goes with the job.
        receiver.call(&id, Action::Complete, "").await.state();
        assert_eq!(desk.value("select count(*) from rolegate.job_progress").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_callback_of_an_attempt_that_ended_otherwise_is_gone() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let gone = async |id: &str| {
            for action in Action::ALL {
                let answer: Answer = receiver.call(id, action, "").await;
                answer.refused(410, "callback_gone");
            }
        };
        // Without waiting.
        for (state, detail) in [
            ('c', None),
            ('f', Some(json!({"error": "x"}))),
            ('r', Some(json!({"delay": 3600}))),
            ('x', None),
        ] {
            let job = desk.job().await;
            let id = desk.register(&job, 60.0, true).await.unwrap();
            assert!(desk.end(&job, state, detail).await);
            let before = desk.place(job.root).await;
            gone(&id).await;
            assert_eq!(desk.place(job.root).await, before);
            assert_eq!(desk.register(&job, 60.0, true).await, None, "{state}");
        }
        // For another callback of the same attempt.
        let job = desk.job().await;
        let unused = desk.register(&job, 60.0, true).await.unwrap();
        let used = desk.register(&job, 60.0, true).await.unwrap();
        desk.park(&job).await;
        gone(&unused).await;
        assert_eq!(
            receiver.call(&used, Action::Complete, "").await.state(),
            "completed"
        );
        // Cancelled while it waited.
        let (job, id) = desk.parked().await;
        let sql = format!(
            "select rolegate.end_job(rolegate.unpark_job({}), 'cancelled', 'cancelled', null)",
            job.root
        );
        desk.superuser.query(&sql, &[]).await.unwrap();
        gone(&id).await;
        assert_eq!(desk.place(job.root).await, "cancelled cancelled 0");
        // An operator has it run again: that attempt has a callback of its own.
        let (job, id) = desk.parked().await;
        let sql = format!("select rolegate.retry({})", job.root);
        assert_eq!(desk.value(&sql).await, true);
        gone(&id).await;
        assert_eq!(desk.place(job.root).await, "lane 0");
        let again = desk.claim().await.expect("it is back");
        assert_eq!(again.root, job.root);
        let own = desk.register(&again, 60.0, true).await.unwrap();
        desk.park(&again).await;
        gone(&id).await;
        let answer = receiver.call(&own, Action::Complete, "").await;
        assert_eq!(answer.state(), "completed");
        // The worker was lost; an early call is void, and the job runs again.
        let job = desk.job().await;
        let id = desk.register(&job, 60.0, true).await.unwrap();
        let sql = "select rolegate.abandon_worker(id) from rolegate.job_worker";
        desk.superuser.query(sql, &[]).await.unwrap();
        gone(&id).await;
        assert_eq!(desk.place(job.root).await, "lane 1");
    })
    .await;
}

#[tokio::test]
async fn waiting_for_what_was_not_registered_is_a_failure() {
    for_each_version(async |db| {
        let desk = Desk::open(db).await;
        let other = desk.job().await;
        let theirs = desk.register(&other, 60.0, false).await.unwrap();
        for detail in [
            None,
            Some(json!({"callback": theirs})),
            Some(json!({"callback": "x"})),
        ] {
            let job = desk.job().await;
            assert!(desk.end(&job, 'w', detail).await);
            let place = "failed wait_for_callback_contract_violation 1";
            assert_eq!(desk.place(job.root).await, place);
        }
        // By name, of several.
        let job = desk.job().await;
        let first = desk.register(&job, 60.0, false).await.unwrap();
        desk.register(&job, 60.0, false).await.unwrap();
        assert!(desk.end(&job, 'w', Some(json!({"callback": first}))).await);
        let waits = "select callback::text from rolegate.job_parked";
        assert_eq!(desk.value(waits).await, first);
        // A wrong time of the claim is another claim.
        let mut forged = desk.job().await;
        forged.at += std::time::Duration::from_secs(1);
        assert_eq!(desk.register(&forged, 60.0, false).await, None);
    })
    .await;
}
