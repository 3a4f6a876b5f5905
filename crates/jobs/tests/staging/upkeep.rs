//! Who is woken, and what is left behind.

use std::time::Duration;

use rolegate_testkit::{TestDatabase, for_each_version};
use tokio_postgres::{AsyncMessage, NoTls};

use super::stage::{Stage, eventually, pause};

const SILENCE: Duration = Duration::from_secs(30);
const ROWS: &str = "insert into rolegate.job_staging (kind, args) \
    select 'x', to_jsonb(repeat('x', 500)) from generate_series(1, 4000)";

/// Payloads of notifications that a session of its own has heard.
async fn listen(db: &TestDatabase) -> tokio::sync::mpsc::UnboundedReceiver<String> {
    let (client, mut connection) = db
        .endpoint()
        .config("rolegate_worker", db.name())
        .connect(NoTls)
        .await
        .unwrap();
    let (tell, heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) =
            futures_util::future::poll_fn(|cx| connection.poll_message(cx)).await
        {
            if let AsyncMessage::Notification(note) = message {
                let _ = tell.send(note.payload().to_owned());
            }
        }
    });
    client.batch_execute("listen rolegate_jobs").await.unwrap();
    // Its session lives as long as the test.
    std::mem::forget(client);
    heard
}

#[tokio::test]
async fn whoever_sleeps_is_woken_once_for_each_statement() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let mut heard = listen(db).await;
        // Nobody sleeps.
        stage.producer.batch_execute(ROWS).await.unwrap();
        let sleeper = db.connect_as("rolegate_maintenance").await;
        let sleeps = "select cardinality(rolegate.await_jobs('{0}')) = 1";
        eventually(&sleeper, sleeps).await;
        stage.producer.batch_execute(ROWS).await.unwrap();
        stage.producer.batch_execute(ROWS).await.unwrap();
        for _ in 0..2 {
            let note = tokio::time::timeout(Duration::from_secs(10), heard.recv()).await;
            assert_eq!(note.unwrap().as_deref(), Some("0"));
        }
        pause(200).await;
        assert!(heard.try_recv().is_err());
    })
    .await;
}

/// Each way of enqueueing. A note costs the commits of all producers a lock, so nobody is told who is awake.
#[tokio::test]
async fn enqueueing_tells_nobody_unless_a_worker_sleeps() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let other = "select rolegate.create_queue('other')";
        stage.run(other).await;
        let mut heard = listen(db).await;
        let ways = [
            "select rolegate.enqueue('x')",
            "select rolegate.enqueue('x', tags => '{a}', deadline => '1 s')",
            "select rolegate.enqueue_many('x', array['1', '2']::jsonb[])",
            "select rolegate.enqueue_many('x', '{}'), rolegate.enqueue('x')",
        ];
        let sleeper = db.connect_as("rolegate_worker").await;
        let queue = "select id from rolegate.job_queue where name = 'default'";
        let default: i32 = stage.superuser.query_one(queue, &[]).await.unwrap().get(0);
        let sleeps = format!("select cardinality(rolegate.await_jobs('{{{default}}}')) = 1");
        for _ in 0..2 {
            for way in ways {
                stage.producer.batch_execute(way).await.unwrap();
            }
            pause(200).await;
            assert!(heard.try_recv().is_err(), "nobody sleeps");
            eventually(&sleeper, &sleeps).await;
            // Nobody waits for this one.
            let elsewhere = "select rolegate.enqueue('x', queue => 'other')";
            stage.producer.batch_execute(elsewhere).await.unwrap();
            for way in ways {
                stage.producer.batch_execute(way).await.unwrap();
                let note = tokio::time::timeout(Duration::from_secs(10), heard.recv()).await;
                assert_eq!(note.unwrap(), Some(default.to_string()), "{way}");
            }
            // What was rolled back is told to nobody.
            let back = "begin; select rolegate.enqueue('x'); rollback";
            stage.producer.batch_execute(back).await.unwrap();
            pause(200).await;
            assert!(heard.try_recv().is_err(), "once each");
            // It is awake again.
            sleeper
                .batch_execute("select pg_advisory_unlock_all()")
                .await
                .unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_sleeps_moves_at_once() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let leader = stage.lead();
        // It holds the lock that producers probe.
        let sleeps = "select exists (select from pg_locks where locktype = 'advisory' and granted \
            and mode = 'ExclusiveLock' and objid = rolegate.queue_lock_key(0) & x'ffffffff'::bigint \
            and classid = rolegate.queue_lock_key(0) >> 32 and database = ( \
                select oid from pg_database where datname = current_database()))";
        eventually(&stage.superuser, sleeps).await;
        let began = std::time::Instant::now();
        stage.producer.batch_execute(ROWS).await.unwrap();
        eventually(
            &stage.superuser,
            "select count(*) = 4000 from rolegate.job where kind = 'x'",
        )
        .await;
        // Without being woken it would look after five seconds.
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        assert!(leader.stop().await);
    })
    .await;
}

#[tokio::test]
async fn what_was_moved_takes_no_room_even_if_somebody_holds_the_horizon() {
    for_each_version(async |db| {
        let mut stage = Stage::new(db).await;
        let mut holder = db.superuser().await;
        let holding = holder
            .build_transaction()
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .start()
            .await
            .unwrap();
        let number = "select pg_current_xact_id()::text";
        holding.query(number, &[]).await.unwrap();
        let size = "select pg_table_size('rolegate.job_staging') + pg_indexes_size('rolegate.job_staging')";
        // Somebody writes to it all the time: it is not emptied, and nobody waits.
        let writing = stage.producer.transaction().await.unwrap();
        let row = "insert into rolegate.job_staging (kind) values ('late')";
        writing.batch_execute(row).await.unwrap();
        let other = db.superuser().await;
        other.batch_execute(ROWS).await.unwrap();
        let maintenance = db.connect_as("rolegate_maintenance").await;
        let sql = "select moved from rolegate.move_staged_jobs(10000)";
        let moved: i32 = maintenance.query_one(sql, &[]).await.unwrap().get(0);
        assert_eq!(moved, 4000);
        let truncate = "select rolegate.truncate_staging()";
        let done: bool = maintenance.query_one(truncate, &[]).await.unwrap().get(0);
        assert!(!done);
        assert!(number_of(&other, size).await > 1_000_000);
        writing.commit().await.unwrap();
        // Nobody writes, but there is a row.
        let done: bool = maintenance.query_one(truncate, &[]).await.unwrap().get(0);
        assert!(!done);
        for _ in 0..3 {
            stage.producer.batch_execute(ROWS).await.unwrap();
            stage.tick(SILENCE).await;
        }
        assert!(number_of(&other, size).await < 100_000);
        let dead = "select n_dead_tup from pg_stat_all_tables where relname = 'job_staging'";
        other.query("select pg_stat_clear_snapshot()", &[]).await.unwrap();
        assert!(number_of(&other, dead).await < 100);
        let jobs = "select count(*) from rolegate.job";
        assert_eq!(number_of(&other, jobs).await, 4 * 4000 + 1);
        holding.rollback().await.unwrap();
    })
    .await;
}

async fn number_of(client: &tokio_postgres::Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}
