//! Producers in open transactions, and everybody at once.

use std::time::Duration;

use rolegate_testkit::for_each_version;

use super::crowd::Crowd;
use super::stage::Stage;

/// Two queues in opposite order, with workers that sleep, claims, and a ring that turns meanwhile. A
/// millisecond of waiting for a lock would be an error.
#[tokio::test]
async fn producers_in_opposite_order_never_wait() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.retention("0").await;
        let role = db.create_role("other").await;
        stage
            .run(&format!(
                "grant rolegate_producer to {role}; select rolegate.create_queue('second')"
            ))
            .await;
        let other = db.connect_as(&role).await;
        let (worker, sleeper) = (stage.worker().await, stage.worker().await);
        let sql = "select worker from rolegate.register_worker('w', '', '{default,second}')";
        let id: i64 = worker.query_one(sql, &[]).await.unwrap().get(0);
        let claim = format!(
            "select from rolegate.claim_jobs({id}, array(select id from pg_catalog.unnest(array[1, 2]) id), 100)"
        );
        for client in [&stage.producer, &other] {
            client.batch_execute("set lock_timeout = '1ms'").await.unwrap();
        }
        let enqueue = |queue: &str| {
            format!(
                "select rolegate.enqueue('x', queue => '{queue}'); \
                 select rolegate.enqueue_many('x', array_fill('1'::jsonb, array[3]), '{queue}'); \
                 select rolegate.enqueue('x', queue => '{queue}', run_at => now() + interval '1 day')"
            )
        };
        for round in 0..20 {
            // Somebody sleeps, in every other round.
            let lock = if round % 2 == 0 {
                "select rolegate.await_jobs(array[0, 1, 2])"
            } else {
                "select pg_advisory_unlock_all()"
            };
            sleeper.batch_execute(lock).await.unwrap();
            for client in [&stage.producer, &other] {
                client.batch_execute("begin").await.unwrap();
            }
            stage.producer.batch_execute(&enqueue("default")).await.unwrap();
            other.batch_execute(&enqueue("second")).await.unwrap();
            worker.batch_execute(&claim).await.unwrap();
            stage.tick(Duration::from_hours(1)).await;
            stage.producer.batch_execute(&enqueue("second")).await.unwrap();
            other.batch_execute(&enqueue("default")).await.unwrap();
            worker.batch_execute(&claim).await.unwrap();
            let ends = ["commit", "rollback"];
            stage.producer.batch_execute(ends[round % 2]).await.unwrap();
            other.batch_execute(ends[usize::from(round % 3 == 0)]).await.unwrap();
        }
    })
    .await;
}

/// Producers, claims, ends, rescue, cancellation, promotion and a ring that keeps nothing, all at once, each with
/// real commits: nobody deadlocks, nothing is lost, and every job has one end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_at_once_deadlocks_nobody_and_every_job_ends_once() {
    for_each_version(async |db| {
        let crowd = Crowd::gather(db).await;
        crowd.run(Duration::from_secs(5)).await;
        crowd.drain().await;
        crowd.check().await;
    })
    .await;
}
