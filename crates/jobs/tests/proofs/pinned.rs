//! A transaction that holds the horizon, and no lock of ours, changes nothing for the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rolegate_jobs::{Handlers, Outcome, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::Login;
use rolegate_testkit::for_each_version;

use super::stage::{Stage, eventually};

/// How long, at 400 jobs a second.
const TIME: Duration = Duration::from_secs(14);
const EVERY: Duration = Duration::from_millis(50);
const EACH: i64 = 20;

const DEAD: &str = "select coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_all_tables \
    where schemaname = 'rolegate'";
const SIZE: &str = "select sum(pg_total_relation_size(oid))::bigint from pg_class \
    where relnamespace = 'rolegate'::regnamespace and relkind = 'r' and relname ~ '^job_(claim_|outcome_)?\\d+$'";

#[tokio::test]
async fn a_pinned_horizon_changes_neither_size_nor_dead_rows() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.retention("2").await;
        let mut other = db.superuser().await;
        let pinning = other
            .build_transaction()
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .start()
            .await
            .unwrap();
        pinning
            .query("select pg_current_xact_id(), count(*) from pg_class", &[])
            .await
            .unwrap();
        let ran = Arc::new(AtomicI64::new(0));
        let counted = Arc::clone(&ran);
        let handlers = Handlers::default().function("x", move |(): (), _| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Outcome::Completed(None) }
        });
        let config = WorkerConfig {
            pulse: Duration::from_secs(1),
            ..WorkerConfig::default()
        };
        let sql = EngineSql::new("rolegate");
        let login = Login::peer("rolegate_worker");
        let worker = Worker::start(&db.wire_endpoint(), &login, &sql, handlers, config)
            .await
            .unwrap();
        let leader = stage.lead();

        let enqueue =
            format!("select rolegate.enqueue_many('x', array_fill('null'::jsonb, array[{EACH}]))");
        let mut every = tokio::time::interval(EVERY);
        let began = tokio::time::Instant::now();
        let (mut sent, mut sizes) = (0, Vec::new());
        while began.elapsed() < TIME {
            every.tick().await;
            stage.producer.query(&enqueue, &[]).await.unwrap();
            sent += EACH;
            if sent % (20 * EACH) == 0 {
                sizes.push(stage.number(SIZE).await);
            }
        }
        // Everything runs, and its space comes back, while the other transaction is still open.
        eventually(
            &stage.superuser,
            "select (select count(*) from rolegate.job) = 0 \
                and (select count(*) from rolegate.job_outcome) = 0 \
                and (select count(*) = 1 from rolegate.job_turn)",
        )
        .await;
        assert_eq!(ran.load(Ordering::Relaxed), sent);
        let turns = stage
            .number("select max(turn) from rolegate.job_turn")
            .await;
        assert!(turns >= 5, "{turns} turns");
        let (early, late) = sizes.split_at(sizes.len() / 2);
        let most = |sizes: &[i64]| sizes.iter().copied().max().unwrap();
        println!("{sent} jobs, {turns} turns; bytes of the ring each second: {sizes:?}");
        assert!(most(late) <= most(early) * 2, "the ring grows: {sizes:?}");
        stage
            .superuser
            .query("select pg_stat_force_next_flush()", &[])
            .await
            .unwrap();
        let dead = stage.number(DEAD).await;
        println!("{dead} dead rows after {sent} jobs");
        // Those of signs of life and turns: their number is that of seconds.
        assert!(dead < 150, "{dead} dead rows after {sent} jobs");
        let held = "select age(backend_xid)::bigint from pg_stat_activity \
                    where datname = current_database() and state = 'idle in transaction'";
        assert!(stage.number(held).await > 500, "it held the horizon");
        assert!(worker.stop().await);
        assert!(leader.stop().await);
        pinning.rollback().await.unwrap();
    })
    .await;
}
