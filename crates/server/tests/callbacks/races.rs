//! Calls that meet.

use std::time::Duration;

use futures_util::future::join_all;
use rolegate_auth::callback::Action;
use rolegate_testkit::for_each_version;

use crate::harness::{Desk, Receiver};

#[tokio::test(flavor = "multi_thread")]
async fn of_many_answers_exactly_one_counts() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        for round in 0..10 {
            let (job, id) = desk.parked().await;
            let calls = (0..12).map(|n| {
                let (receiver, id) = (&receiver, &id);
                async move {
                    let action = [Action::Complete, Action::Fail, Action::Resume][n % 3];
                    let body = format!("{{\"payload\": {n}, \"error\": \"{n}\"}}");
                    receiver.call(id, action, &body).await
                }
            });
            let answers = join_all(calls).await;
            let won: Vec<_> = answers
                .iter()
                .filter(|answer| answer.status == 200)
                .collect();
            assert_eq!(won.len(), 1, "round {round}: {answers:?}");
            for lost in answers.iter().filter(|answer| answer.status != 200) {
                lost.refused(409, "callback_conflict");
            }
            let place = match won[0].state() {
                "completed" => "parked completed 0",
                "retryable" => "deferred 1",
                "available" => "lane 0",
                other => panic!("{other}"),
            };
            assert_eq!(desk.place(job.root).await, place);
            if place == "lane 0" {
                let back = desk.claim().await.expect("it is back");
                assert!(desk.end(&back, 'c', None).await);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_from_many_gets_one_answer() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let (_, id) = desk.parked().await;
        let calls = (0..12).map(|_| receiver.call(&id, Action::Complete, "{\"payload\": 1}"));
        let answers = join_all(calls).await;
        assert!(
            answers.iter().all(|answer| answer.body == answers[0].body),
            "{answers:?}"
        );
        assert!(
            answers.iter().all(|answer| answer.status == 200),
            "{answers:?}"
        );
        assert_eq!(
            answers.iter().filter(|answer| !answer.is_replay()).count(),
            1
        );
    })
    .await;
}

/// Whichever is first, the job completes, once.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_meets_the_job_as_it_begins_to_wait() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let mut early = 0;
        for round in 0..40_u64 {
            let job = desk.job().await;
            let id = desk.register(&job, 60.0, false).await.unwrap();
            // From well behind it to well before it.
            let park = async {
                tokio::time::sleep(Duration::from_millis(20_u64.saturating_sub(round))).await;
                desk.park(&job).await;
            };
            let call = async {
                tokio::time::sleep(Duration::from_millis(round.saturating_sub(20))).await;
                receiver
                    .call(&id, Action::Complete, "{\"payload\": 1}")
                    .await
            };
            let ((), answer) = tokio::join!(park, call);
            early += i32::from(answer.state() == "running");
            assert_eq!(desk.place(job.root).await, "parked completed 0");
        }
        assert!((1..40).contains(&early), "{early} of 40 were early");
    })
    .await;
}

/// The claim's lock decides between the timeout and the answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_meets_its_timeout() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let maintenance = db.connect_as("rolegate_maintenance").await;
        for _ in 0..30 {
            let job = desk.job().await;
            let id = desk.register(&job, 0.001, false).await.unwrap();
            desk.park(&job).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
            let sql = "select expired from rolegate.expire_callbacks(100)";
            let (expired, answer) = tokio::join!(
                maintenance.query_one(sql, &[]),
                receiver.call(&id, Action::Complete, "")
            );
            let expired: i32 = expired.unwrap().get(0);
            let place = desk.place(job.root).await;
            if expired == 1 {
                answer.refused(410, "callback_gone");
                assert_eq!(place, "deferred 1");
            } else {
                assert_eq!(answer.state(), "completed");
                assert_eq!(place, "parked completed 0");
            }
        }
    })
    .await;
}

/// A unique key is held while the job waits, and free when the callback completes it.
#[tokio::test]
async fn a_unique_key_is_held_while_the_job_waits() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let sql = "select rolegate.enqueue('k', unique_key => 'one')";
        let job = desk.job_of(sql).await;
        let id = desk.register(&job, 60.0, false).await.unwrap();
        desk.park(&job).await;
        let taken = desk
            .producer
            .query_one(sql, &[])
            .await
            .expect_err("it is held");
        assert_eq!(taken.code().unwrap().code(), "23505");
        receiver.call(&id, Action::Complete, "").await.state();
        desk.producer.query_one(sql, &[]).await.expect("it is free");
    })
    .await;
}
