//! What handlers write down while they run, and what becomes of it.
#![allow(clippy::unwrap_used)]

mod stage;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rolegate_jobs::{Handlers, Outcome, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::Login;
use rolegate_testkit::{TestDatabase, for_each_version};
use serde_json::{Value, json};
use stage::{Stage, eventually, pause};
use tokio::sync::Semaphore;
use tokio_postgres::Client;

async fn start(db: &TestDatabase, handlers: Handlers) -> Worker {
    let config = WorkerConfig {
        pulse: Duration::from_millis(300),
        ..WorkerConfig::default()
    };
    let login = Login::peer("rolegate_worker");
    let sql = EngineSql::new("rolegate");
    Worker::start(&db.wire_endpoint(), &login, &sql, handlers, config)
        .await
        .unwrap()
}

async fn enqueue(stage: &Stage<'_>, kind: &str) -> i64 {
    let sql = "select rolegate.enqueue($1, 'null')";
    let row = stage.producer.query_one(sql, &[&kind]).await.unwrap();
    row.get(0)
}

/// What its producer sees of it.
async fn progress(client: &Client, job: i64) -> Option<Value> {
    let sql = "select progress - 'at' from rolegate.job($1)";
    client.query_one(sql, &[&job]).await.unwrap().get(0)
}

async fn until_progress(stage: &Stage<'_>, job: i64, wanted: Value) {
    for _ in 0..1000 {
        if progress(&stage.producer, job).await.as_ref() == Some(&wanted) {
            return;
        }
        pause(10).await;
    }
    panic!("{:?} is not {wanted}", progress(&stage.producer, job).await);
}

async fn rows(stage: &Stage<'_>) -> i64 {
    stage
        .number("select count(*) from rolegate.job_progress")
        .await
}

/// Notes, waits at the gate, and ends as its attempt says.
fn gated(gate: &Arc<Semaphore>, seen: &Arc<Mutex<Vec<Option<i64>>>>) -> Handlers {
    let (gate, seen) = (Arc::clone(gate), Arc::clone(seen));
    Handlers::default().function_in("steps", move |(): (), job, context| {
        let gate = Arc::clone(&gate);
        seen.lock().unwrap().push(job.checkpoint().unwrap());
        async move {
            let from: i64 = job.checkpoint().unwrap().unwrap_or(0);
            context.progress(10, "begun");
            context.checkpoint(&(from + 1)).unwrap();
            let permit = gate.acquire().await.unwrap();
            permit.forget();
            context.checkpoint(&(from + 2)).unwrap();
            if job.attempt < 3 {
                Outcome::Retry {
                    error: "not yet".into(),
                    after: Some(Duration::ZERO),
                }
            } else {
                Outcome::Completed(None)
            }
        }
    })
}

#[tokio::test]
async fn checkpoints_reach_the_next_attempts_and_are_gone_with_the_job() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let gate = Arc::new(Semaphore::new(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let worker = start(db, gated(&gate, &seen)).await;
        let job = enqueue(&stage, "steps").await;
        let noted = json!({"percent": 10, "message": "begun", "checkpoint": 1});
        until_progress(&stage, job, noted).await;
        // The first attempt ends within a second of its last note.
        gate.add_permits(1);
        let noted = json!({"percent": 10, "message": "begun", "checkpoint": 3});
        until_progress(&stage, job, noted).await;
        gate.add_permits(2);
        let done = format!("select state = 'completed' from rolegate.job({job})");
        eventually(&stage.superuser, &done).await;
        assert_eq!(*seen.lock().unwrap(), [None, Some(2), Some(4)]);
        assert_eq!(rows(&stage).await, 0, "nothing is left of it");
        assert_eq!(progress(&stage.producer, job).await, None);
        assert!(worker.stop().await);
    })
    .await;
}

#[tokio::test]
async fn they_survive_the_worker_and_go_with_a_cancelled_job() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let gate = Arc::new(Semaphore::new(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let worker = start(db, gated(&gate, &seen)).await;
        let job = enqueue(&stage, "steps").await;
        let noted =
            |checkpoint| json!({"percent": 10, "message": "begun", "checkpoint": checkpoint});
        until_progress(&stage, job, noted(1)).await;
        stage
            .run("select rolegate.abandon_worker(id) from rolegate.job_worker")
            .await;
        // The same process has it again.
        until_progress(&stage, job, noted(2)).await;
        assert_eq!(*seen.lock().unwrap(), [None, Some(1)]);
        let cancel = format!("select rolegate.cancel({job})");
        stage.producer.batch_execute(&cancel).await.unwrap();
        assert_eq!(rows(&stage).await, 0, "nothing is left of it");
        assert!(worker.stop().await);
        assert_eq!(rows(&stage).await, 0, "and nothing came after that");
    })
    .await;
}

#[tokio::test]
async fn attempts_that_have_ended_note_nothing() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        stage.enqueue("a", 3).await;
        let jobs = stage.claim(&worker, id, 10).await;
        stage.complete(&worker, id, &jobs[..1]).await;
        let cancel = format!("select rolegate.cancel({})", jobs[1].id);
        stage.producer.batch_execute(&cancel).await.unwrap();
        let claims: Vec<i64> = jobs.iter().map(|job| job.claim).collect();
        let ordinals: Vec<i16> = jobs.iter().map(|job| job.ordinal).collect();
        let mut at: Vec<_> = jobs.iter().map(|job| job.at).collect();
        let notes = vec![json!({"percent": 1, "checkpoint": [1]}); 3];
        let sql = "select rolegate.note_jobs($1, $2, $3, $4, $5)";
        let row = worker
            .query_one(sql, &[&id, &claims, &ordinals, &at, &notes])
            .await
            .unwrap();
        assert_eq!(row.get::<_, Vec<i32>>(0), [1, 2]);
        let row = worker
            .query_one(sql, &[&(id + 1), &claims, &ordinals, &at, &notes])
            .await
            .unwrap();
        assert_eq!(row.get::<_, Vec<i32>>(0), [1, 2, 3], "another worker's");
        at[2] -= Duration::from_secs(1);
        let row = worker
            .query_one(sql, &[&id, &claims, &ordinals, &at, &notes])
            .await
            .unwrap();
        assert_eq!(row.get::<_, Vec<i32>>(0), [1, 2, 3], "another time's");
        assert_eq!(rows(&stage).await, 1);
        // Nobody else may, and it is nothing without a note.
        assert!(
            stage
                .producer
                .query(sql, &[&id, &claims, &ordinals, &at, &notes])
                .await
                .is_err()
        );
        stage
            .run("update rolegate.job_progress set message = 'kept'")
            .await;
        let keep = "select rolegate.note_jobs($1, $2, $3, $4, array['{}'::jsonb])";
        worker
            .query_one(
                keep,
                &[
                    &id,
                    &[claims[2]].as_slice(),
                    &[ordinals[2]].as_slice(),
                    &[jobs[2].at].as_slice(),
                ],
            )
            .await
            .unwrap();
        assert_eq!(
            progress(&stage.producer, jobs[2].id).await,
            Some(json!({"percent": 1, "message": "kept", "checkpoint": [1]}))
        );
        // One that was claimed when it had no note, and completes with the flag.
        let row = worker
            .query_one(
                "select rolegate.finish_jobs($1, $2, $3, $4, null, null, array[4::int2])",
                &[
                    &id,
                    &[claims[2]].as_slice(),
                    &[ordinals[2]].as_slice(),
                    &[jobs[2].at].as_slice(),
                ],
            )
            .await
            .unwrap();
        assert_eq!(row.get::<_, Vec<i32>>(0), [0; 0]);
        assert_eq!(rows(&stage).await, 0);
    })
    .await;
}

/// A thousand notes of a job are a few writes, and a job that notes nothing costs nothing.
#[tokio::test]
async fn notes_are_gathered() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&begun);
        let handlers = Handlers::default()
            .function_in("busy", move |(): (), _, context| {
                counted.fetch_add(1, Ordering::SeqCst);
                async move {
                    for n in 0..=100 {
                        context.progress(n, "busy");
                        context.checkpoint(&n).unwrap();
                        pause(10).await;
                    }
                    Outcome::retry("once more")
                }
            })
            .function("quiet", |(): (), _| async { Outcome::Completed(None) });
        let worker = start(db, handlers).await;
        let job = enqueue(&stage, "busy").await;
        for _ in 0..20 {
            enqueue(&stage, "quiet").await;
        }
        eventually(
            &stage.superuser,
            "select count(*) = 1 from rolegate.job_deferred",
        )
        .await;
        let last = json!({"percent": 100, "message": "busy", "checkpoint": 100});
        assert_eq!(progress(&stage.producer, job).await, Some(last));
        assert!(worker.stop().await);
        // Counters arrive when the worker's sessions have ended.
        let sql = "select n_tup_ins + n_tup_upd between 1 and 5 from pg_stat_all_tables \
                   where relid = 'rolegate.job_progress'::regclass";
        eventually(&stage.superuser, sql).await;
        let sql = "select sum(n_tup_upd) = 1 from pg_stat_all_tables \
                   where relname ~ '^job_[0-9]+$' and schemaname = 'rolegate'";
        eventually(&stage.superuser, sql).await;
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    })
    .await;
}

#[tokio::test]
async fn what_can_not_be_stored_holds_nobody_up() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let handlers = Handlers::default()
            .function("output", |(): (), _| async { Outcome::output(&"a\0b") })
            .function("error", |(): (), _| async { Outcome::retry("a\0b") })
            .function_in("note", |(): (), _, context| async move {
                context.progress(1, "a\0b");
                context.checkpoint(&"a\0b").unwrap();
                Outcome::Snooze(Duration::from_hours(1))
            })
            .function_in("good note", |(): (), _, context| async move {
                context.checkpoint(&"ab").unwrap();
                Outcome::Snooze(Duration::from_hours(1))
            })
            .function("good", |(): (), _| async { Outcome::output(&"ab") });
        // Claimed and finished together, as far as possible.
        stage
            .producer
            .batch_execute(
                "select rolegate.enqueue(k, 'null') from unnest( \
                 array['output', 'good', 'error', 'note', 'good note', 'good']) k",
            )
            .await
            .unwrap();
        let worker = start(db, handlers).await;
        eventually(
            &stage.superuser,
            "select count(*) = 1 from rolegate.job_ended where reason = 'not_storable'",
        )
        .await;
        eventually(
            &stage.superuser,
            "select count(*) = 2 from rolegate.job_outcome o, unnest(o.outputs) x where x = '\"ab\"'",
        )
        .await;
        eventually(&stage.superuser, "select count(*) = 3 from rolegate.job_deferred").await;
        let sql = "select count(*) from rolegate.job_progress where checkpoint = '\"ab\"'";
        assert_eq!(stage.number(sql).await, 1);
        assert!(worker.stop().await);
    })
    .await;
}
