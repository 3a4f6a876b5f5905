//! Connections of a worker break.

use std::time::{Duration, Instant};

use rolegate_jobs::WorkerConfig;
use rolegate_testkit::{TestDatabase, Version, for_each_version};

use super::stage::{Stage, eventually, pause};
use super::worker::start;

const PATIENCE: Duration = Duration::from_secs(20);

/// Nothing is open: every job that was handed out has an end.
const NOTHING_OPEN: &str = "select (select coalesce(sum(cardinality(jobs)), 0) from rolegate.job_claim) \
    = (select coalesce(sum(cardinality(ordinals)), 0) from rolegate.job_outcome)";

fn quick_pulse() -> WorkerConfig {
    WorkerConfig {
        pulse: Duration::from_millis(200),
        ..WorkerConfig::default()
    }
}

/// Its transaction is committed, and the worker never hears of it. Without maintenance nobody else could
/// give those jobs back, and the ring would be emptied over them, because the worker says that it
/// has nothing older open than what it knows.
#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_given_back() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let on = start(db, quick_pulse()).await;
        let enqueue = "select rolegate.enqueue($1, $2)";
        let number = serde_json::json!(1);
        stage.producer.query(enqueue, &[&"waits", &number]).await.unwrap();
        on.until_ran(1, PATIENCE).await;

        // The next claim waits inside the database while its connection is cut.
        let lock = "select pg_advisory_lock(rolegate.worker_lock_key(id)) from rolegate.job_worker";
        stage.superuser.query(lock, &[]).await.unwrap();
        let number = serde_json::json!(2);
        stage.producer.query(enqueue, &[&"runs", &number]).await.unwrap();
        let waits = "select exists (select from pg_stat_activity where datname = current_database() \
                     and usename = 'rolegate_worker' and wait_event_type = 'Lock')";
        eventually(&stage.superuser, waits).await;
        on.working.cut_all().await;
        stage.run("select pg_advisory_unlock_all()").await;

        // While the other job is still running.
        on.until_ran(2, PATIENCE).await;
        assert_eq!(on.ran(), [1, 2]);
        let attempts = "select count(*) from rolegate.job where attempt > 0";
        assert_eq!(stage.number(attempts).await, 0, "it had not been begun");
        on.gate.add_permits(1);
        eventually(&stage.superuser, NOTHING_OPEN).await;
        // Those that were begun as another worker's are ended as that one's.
        let lost = "select count(*) from rolegate.job_outcome where 'l' = any (states)";
        assert_eq!(stage.number(lost).await, 0);
        eventually(
            &stage.superuser,
            "select count(*) = 1 and bool_and(open_from is null) from rolegate.job_worker",
        )
        .await;
        assert!(on.worker.stop().await);
        eventually(
            &stage.superuser,
            "select not exists (select from rolegate.job_worker)",
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn backends_are_terminated_under_load_and_every_job_runs() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let on = start(db, quick_pulse()).await;
        let sql =
            "select rolegate.enqueue('runs', to_jsonb(n)) from generate_series($1::int, $1 + 9) n";
        let mut killed = 0;
        for batch in 0..150 {
            let first = batch * 10 + 1;
            stage.producer.query(sql, &[&first]).await.unwrap();
            if batch % 15 == 7 {
                killed += stage
                    .number(
                        "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                         where datname = current_database() and usename = 'rolegate_worker'",
                    )
                    .await;
            }
            pause(5).await;
        }
        assert!(killed >= 5, "{killed}");
        eventually(&stage.superuser, NOTHING_OPEN).await;
        eventually(
            &stage.superuser,
            "select count(*) = 1500 from (select distinct coalesce(j.root, j.id) \
             from rolegate.job_outcome o join rolegate.job_claim k on k.id = o.claim, \
                unnest(o.ordinals) with ordinality n (ordinal, nth), rolegate.job j \
             where j.lane = k.lane and j.id = k.jobs[n.ordinal] \
                and coalesce(o.states[n.nth], 'c') = 'c') completed",
        )
        .await;
        let mut ran = on.ran();
        ran.sort_unstable();
        ran.dedup();
        assert_eq!(ran, (1..=1500).collect::<Vec<i64>>());
        // It was never silent, so that nothing was done twice.
        assert_eq!(on.ran().len(), 1500);
        assert!(on.worker.stop().await);
    })
    .await;
}

/// It would look again after a minute.
#[tokio::test]
async fn a_worker_that_was_not_woken_for_a_while_is_woken_again() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let config = WorkerConfig {
            poll: Duration::from_mins(1),
            ..WorkerConfig::default()
        };
        let on = start(db, config).await;
        let asleep = "select exists (select from pg_locks where locktype = 'advisory' and granted \
            and mode = 'ExclusiveLock' and objsubid = 1 \
            and database = (select oid from pg_database where datname = current_database()) \
            and (classid::bigint << 32) + objid::bigint = rolegate.queue_lock_key(1))";
        for n in 1..=3 {
            eventually(&stage.superuser, asleep).await;
            // Its last look is over, too.
            pause(100).await;
            on.waking.cut_all().await;
            eventually(&stage.superuser, &format!("select not ({asleep})")).await;
            // It says again that it sleeps, and is told.
            eventually(&stage.superuser, asleep).await;
            pause(100).await;
            let sql = "select rolegate.enqueue('runs', to_jsonb($1::int))";
            stage.producer.query(sql, &[&n]).await.unwrap();
            on.until_ran(usize::try_from(n).unwrap(), Duration::from_secs(5))
                .await;
        }
        assert!(on.worker.stop().await);
    })
    .await;
}

/// Somebody decides about a job of the lane, and takes his time.
#[tokio::test]
async fn a_lane_that_is_held_is_not_asked_for_all_the_time() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let on = start(db, WorkerConfig::default()).await;
        stage
            .run("select pg_advisory_lock(rolegate.lane_lock_key(5))")
            .await;
        stage
            .producer
            .query("select rolegate.enqueue('runs', '1')", &[])
            .await
            .unwrap();
        pause(500).await;
        let asked = "select xact_commit from pg_stat_database where datname = current_database()";
        let before = stage.number(asked).await;
        pause(3000).await;
        let after = stage.number(asked).await;
        assert!(after - before < 250, "{} transactions", after - before);
        assert!(on.ran().is_empty());
        stage.run("select pg_advisory_unlock_all()").await;
        on.until_ran(1, PATIENCE).await;
        assert!(on.worker.stop().await);
    })
    .await;
}

/// No answer comes, and no error.
#[tokio::test]
async fn a_worker_stops_in_time_whatever_the_database_does() {
    // Which version it is does not matter to one that hears nothing.
    let db = TestDatabase::create(Version::Pg18).await;
    let stage = Stage::new(&db).await;
    let config = WorkerConfig {
        concurrency: 4,
        shutdown: Duration::from_secs(1),
        ..quick_pulse()
    };
    let on = start(&db, config).await;
    let sql = "select rolegate.enqueue('waits', to_jsonb(n)) from generate_series(1, 20) n";
    stage.producer.query(sql, &[]).await.unwrap();
    on.until_ran(4, PATIENCE).await;
    for proxy in [&on.working, &on.waking] {
        proxy.stop_reading(true);
    }
    // It claims, says that it lives, and ends attempts, all of it in vain.
    on.gate.add_permits(2);
    pause(500).await;
    let began = Instant::now();
    let stopped = tokio::time::timeout(Duration::from_secs(30), on.worker.stop()).await;
    assert_eq!(stopped, Ok(false), "after {:?}", began.elapsed());
    drop(stage);
    db.drop().await;
}
