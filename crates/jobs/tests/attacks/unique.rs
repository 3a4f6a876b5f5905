//! Unique keys that somebody holds, and others want.

use rolegate_testkit::for_each_version;

use super::stage::{Claimed, Stage};

const FLAGS: &str = "select rolegate.finish_jobs($1, $2, $3, $4, flags => $5)";

fn enqueue(key: &str, on_conflict: &str) -> String {
    format!("select rolegate.enqueue('u', unique_key => '{key}', on_conflict => '{on_conflict}')")
}

/// Producers who find that keys are taken, in opposite order and in transactions that stay open, while the
/// jobs that have them end. A millisecond of waiting for a lock would be an error.
#[tokio::test]
async fn who_finds_a_key_taken_keeps_neither_its_job_from_ending_nor_another_producer() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let role = db.create_role("other").await;
        stage
            .run(&format!("grant rolegate_producer to {role}"))
            .await;
        let other = db.connect_as(&role).await;
        for key in ["a", "b"] {
            let made = stage.producer.batch_execute(&enqueue(key, "error")).await;
            made.unwrap();
        }
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        let jobs = stage.claim(&worker, id, 10).await;
        assert_eq!(jobs.len(), 2);
        for client in [&stage.producer, &other, &worker] {
            let sql = "set lock_timeout = '1ms'";
            client.batch_execute(sql).await.unwrap();
        }
        for (client, keys) in [(&stage.producer, ["a", "b"]), (&other, ["b", "a"])] {
            client.batch_execute("begin").await.unwrap();
            for key in keys {
                let sql = enqueue(key, "existing");
                client.batch_execute(&sql).await.unwrap();
            }
            client.batch_execute("savepoint s").await.unwrap();
            let taken = client.batch_execute(&enqueue("a", "error")).await;
            assert_eq!(taken.unwrap_err().code().unwrap().code(), "23505");
            let back = "rollback to savepoint s";
            client.batch_execute(back).await.unwrap();
        }
        finish(&worker, id, &jobs).await;
        // They are free now, in one of the open transactions and in any other.
        let sql = enqueue("a", "error");
        stage.producer.batch_execute(&sql).await.unwrap();
        let sql = enqueue("b", "error");
        other.batch_execute(&sql).await.unwrap();
        for client in [&stage.producer, &other] {
            client.batch_execute("commit").await.unwrap();
        }
        let keys = "select count(*) from rolegate.job_unique";
        assert_eq!(stage.number(keys).await, 2);
    })
    .await;
}

async fn finish(worker: &tokio_postgres::Client, id: i64, jobs: &[Claimed]) {
    let claims: Vec<i64> = jobs.iter().map(|job| job.claim).collect();
    let ordinals: Vec<i16> = jobs.iter().map(|job| job.ordinal).collect();
    let at: Vec<_> = jobs.iter().map(|job| job.at).collect();
    let flags = vec![1_i16; jobs.len()];
    let row = worker
        .query_one(FLAGS, &[&id, &claims, &ordinals, &at, &flags])
        .await
        .unwrap();
    assert_eq!(row.get::<_, Vec<i32>>(0), [0; 0], "none was refused");
}

/// Two that want one key: the second waits for the first, and has it if that is rolled back.
#[tokio::test]
async fn of_two_with_one_key_one_has_it() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        for (end, free) in [("commit", false), ("rollback", true)] {
            for before in ["", "ended", "held"] {
                let key = format!("{end} {before}");
                if !before.is_empty() {
                    // Somebody had it before, and it is free again, or not before a while.
                    let sql = enqueue(&key, "error");
                    stage.producer.batch_execute(&sql).await.unwrap();
                    let passed = before == "ended";
                    stage
                        .run(&format!(
                            "update rolegate.job_unique set ended = true, held_until = now() \
                                + case when {passed} then interval '-1 s' else interval '1 h' end \
                             where root = (select max(id) from rolegate.job)"
                        ))
                        .await;
                }
                let first = stage.producer.batch_execute("begin").await;
                first.unwrap();
                let first = stage.producer.batch_execute(&enqueue(&key, "error")).await;
                if before == "held" {
                    assert_eq!(first.unwrap_err().code().unwrap().code(), "23505");
                    stage.producer.batch_execute("rollback").await.unwrap();
                    continue;
                }
                first.unwrap();
                let second = db.superuser().await;
                let sql = enqueue(&key, "error");
                let waits = tokio::spawn(async move { second.batch_execute(&sql).await });
                let waiting = "select exists (select from pg_stat_activity \
                    where datname = current_database() and wait_event_type = 'Lock')";
                super::stage::eventually(&stage.superuser, waiting).await;
                stage.producer.batch_execute(end).await.unwrap();
                let second = waits.await.unwrap();
                assert_eq!(second.is_ok(), free, "{key}: {second:?}");
            }
        }
    })
    .await;
}

/// A key that is free again, which a producer takes and keeps his transaction open.
#[tokio::test]
async fn a_key_that_is_taken_again_holds_up_no_pruning() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        for key in ["a", "b"] {
            let made = stage.producer.batch_execute(&enqueue(key, "error")).await;
            made.unwrap();
        }
        stage
            .run(
                "update rolegate.job_unique set ended = true, held_until = now() - interval '1 s'; \
                 select rolegate.enqueue('x'); select rolegate.cancel(max(id)) from rolegate.job; \
                 update rolegate.job_ended set keep_until = now()",
            )
            .await;
        stage.producer.batch_execute("begin").await.unwrap();
        let sql = enqueue("a", "error");
        stage.producer.batch_execute(&sql).await.unwrap();
        let maintenance = db.connect_as("rolegate_maintenance").await;
        let sql = "set lock_timeout = '50ms'";
        maintenance.batch_execute(sql).await.unwrap();
        let sql = "select rolegate.prune_jobs(10)";
        let pruned: i32 = maintenance.query_one(sql, &[]).await.unwrap().get(0);
        assert_eq!(pruned, 1);
        stage.producer.batch_execute("commit").await.unwrap();
        let keys = "select count(*) from rolegate.job_unique where not ended";
        assert_eq!(stage.number(keys).await, 1);
        let keys = "select count(*) from rolegate.job_unique";
        assert_eq!(stage.number(keys).await, 1);
    })
    .await;
}

/// A job that is replaced gets a time that comes, and whoever replaces it can't keep it forever.
#[tokio::test]
async fn a_job_is_not_replaced_by_one_that_never_comes() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let at = |time: &str| {
            format!(
                "select rolegate.enqueue('u', unique_key => 'k', on_conflict => 'replace', run_at => {time})"
            )
        };
        let sql = at("now() + interval '1 day'");
        let row = stage.producer.query_one(&sql, &[]).await.unwrap();
        let job: i64 = row.get(0);
        let refused = [
            at("'infinity'"),
            "select rolegate.enqueue('u', unique_key => repeat('k', 1001))".to_owned(),
            "select rolegate.enqueue('u', unique_key => 'k', unique_for => '101 years')".to_owned(),
        ];
        for sql in refused {
            let refused = stage.producer.batch_execute(&sql).await.unwrap_err();
            assert_eq!(refused.code().unwrap().code(), "22023", "{sql}");
        }
        let sql = format!("select rolegate.move_job({job}, run_at => 'infinity')");
        let refused = stage.superuser.batch_execute(&sql).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "22023");
        let never = "select count(*) from rolegate.job_deferred where not isfinite(run_at)";
        assert_eq!(stage.number(never).await, 0);
        stage.producer.batch_execute("begin").await.unwrap();
        let idle = "select current_setting('idle_in_transaction_session_timeout')";
        let before: String = stage.producer.query_one(idle, &[]).await.unwrap().get(0);
        let sql = at("now() + interval '2 days'");
        stage.producer.batch_execute(&sql).await.unwrap();
        let during: String = stage.producer.query_one(idle, &[]).await.unwrap().get(0);
        stage.producer.batch_execute("commit").await.unwrap();
        let after: String = stage.producer.query_one(idle, &[]).await.unwrap().get(0);
        assert_eq!((before.as_str(), &*during, after.as_str()), ("0", "10s", "0"));
    })
    .await;
}
