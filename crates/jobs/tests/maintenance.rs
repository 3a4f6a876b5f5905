//! Maintenance as a process runs it, under the login for it.
#![allow(clippy::unwrap_used)]

mod stage;

use std::time::Duration;

use rolegate_testkit::for_each_version;
use stage::{Stage, eventually, pause};

#[tokio::test]
async fn deferred_jobs_go_to_their_lanes_in_order_and_on_time() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let leader = stage.lead();
        // The leader sleeps; the later one comes first, so that waking it matters.
        pause(300).await;
        let sql = "select rolegate.enqueue(k, jsonb_build_object('at', at), run_at => at) \
                   from (values ('late', 1200), ('soon', 300), ('soon2', 301)) v (k, ms), \
                   lateral (select clock_timestamp() + ms * interval '1 ms' as at) t";
        stage.producer.query(sql, &[]).await.unwrap();
        eventually(
            &stage.superuser,
            "select count(*) = 2 from rolegate.job",
        )
        .await;
        assert_eq!(stage.kinds().await, ["soon", "soon2"]);
        eventually(&stage.superuser, "select count(*) = 3 from rolegate.job").await;
        assert_eq!(stage.kinds().await, ["soon", "soon2", "late"]);
        // `enqueued_at` of a job is when it came to its lane.
        let lag = "select extract(epoch from enqueued_at - (args ->> 'at')::timestamptz)::float8 \
                   from rolegate.job";
        for row in stage.superuser.query(lag, &[]).await.unwrap() {
            let seconds: f64 = row.get(0);
            assert!((0.0..0.5).contains(&seconds), "{seconds} s late");
        }
        // A thousand and one at once: more than one transaction takes.
        let sql = "select rolegate.enqueue('many', run_at => clock_timestamp() + interval '200 ms') \
                   from generate_series(1, 1001)";
        stage.producer.query(sql, &[]).await.unwrap();
        eventually(
            &stage.superuser,
            "select count(*) = 1004 from rolegate.job",
        )
        .await;
        assert!(leader.stop().await);
    })
    .await;
}

#[tokio::test]
async fn jobs_of_a_silent_worker_run_elsewhere() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let worker = stage.worker().await;
        stage.enqueue("x", 3).await;
        let silent = stage.register(&worker).await;
        assert_eq!(stage.claim(&worker, silent, 2).await.len(), 2);
        let leader = stage.lead_with(|config| config.silence = Duration::from_secs(2));
        pause(1000).await;
        assert_eq!(
            stage
                .number("select count(*) from rolegate.job_worker")
                .await,
            1
        );
        eventually(
            &stage.superuser,
            "select not exists (select from rolegate.job_worker)",
        )
        .await;
        // Lost attempts count, and run at once.
        let alive = stage.register(&worker).await;
        let claimed = stage.claim(&worker, alive, 10).await;
        let mut attempts: Vec<i16> = claimed.iter().map(|job| job.attempt).collect();
        attempts.sort_unstable();
        assert_eq!(attempts, [0, 1, 1]);
        assert!(leader.stop().await);
    })
    .await;
}

#[tokio::test]
async fn the_ring_turns_and_empties_and_nothing_is_lost_or_doubled() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.retention("0").await;
        let leader = stage.lead();
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        let mut seen = Vec::new();
        let mut wanted = Vec::new();
        // Several turns, so that cursors are carried over segments that are emptied meanwhile.
        let mut rounds = 0;
        while stage
            .number("select max(turn) from rolegate.job_turn")
            .await
            < 4
        {
            rounds += 1;
            assert!(rounds < 1000, "the ring does not turn");
            wanted.extend(stage.enqueue("x", 20).await);
            let claimed = stage.claim(&worker, id, 15).await;
            stage.complete(&worker, id, &claimed).await;
            seen.extend(claimed.iter().map(|job| job.id));
            let open: Option<i64> = None;
            let sql = "select rolegate.worker_alive($1, $2)";
            worker.query_one(sql, &[&id, &open]).await.unwrap();
            pause(150).await;
        }
        loop {
            let claimed = stage.claim(&worker, id, 100).await;
            if claimed.is_empty() {
                break;
            }
            stage.complete(&worker, id, &claimed).await;
            seen.extend(claimed.iter().map(|job| job.id));
        }
        let open: Option<i64> = None;
        worker
            .query_one("select rolegate.worker_alive($1, $2)", &[&id, &open])
            .await
            .unwrap();
        assert_eq!(seen, wanted, "once each, in their order");
        eventually(
            &stage.superuser,
            "select count(*) = 1 and (select count(*) from rolegate.job) = 0 \
             and (select count(*) from rolegate.job_outcome) = 0 from rolegate.job_turn",
        )
        .await;
        // The cursor is all that is left, and claims go on from it.
        let more = stage.enqueue("x", 3).await;
        let claimed = stage.claim(&worker, id, 10).await;
        assert_eq!(claimed.iter().map(|job| job.id).collect::<Vec<_>>(), more);
        assert!(leader.stop().await);
    })
    .await;
}

#[tokio::test]
async fn a_reader_only_delays_emptying_and_the_ring_grows_up_to_its_bound() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.retention("0").await;
        stage
            .run(
                "update rolegate.job_setting set max_segments = 6; \
                 select rolegate.add_segment() from generate_series(1, 3)",
            )
            .await;
        let mut reader = db.superuser().await;
        let reading = reader.transaction().await.unwrap();
        reading
            .query("select count(*) from rolegate.job_0, rolegate.job_claim_0", &[])
            .await
            .unwrap();
        let leader = stage.lead();
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        let mut wanted = Vec::new();
        let mut seen = Vec::new();
        for _ in 0..90 {
            wanted.extend(stage.enqueue("x", 5).await);
            let claimed = stage.claim(&worker, id, 100).await;
            stage.complete(&worker, id, &claimed).await;
            seen.extend(claimed.iter().map(|job| job.id));
            let none: Option<i64> = None;
            let sql = "select rolegate.worker_alive($1, $2)";
            worker.query_one(sql, &[&id, &none]).await.unwrap();
            pause(150).await;
        }
        assert_eq!(seen, wanted);
        let turns = stage.number("select count(*) from rolegate.job_turn").await;
        assert_eq!(turns, 6, "it grew to its bound and no further");
        reading.rollback().await.unwrap();
        eventually(
            &stage.superuser,
            "select count(*) = 1 and (select count(*) from rolegate.job) = 0 from rolegate.job_turn",
        )
        .await;
        assert!(leader.stop().await);
    })
    .await;
}

/// After somebody has read for long: what the ring has more than it needs goes, and nothing that is in it.
#[tokio::test]
async fn the_ring_shrinks_to_what_it_needs() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let segments =
            "select count(*) from pg_inherits where inhparent = 'rolegate.job'::regclass";
        let first = stage.number(segments).await;
        stage
            .run("select rolegate.add_segment() from generate_series(1, 8)")
            .await;
        let maintenance = db.connect_as("rolegate_maintenance").await;
        let drop = async |idle: &str| {
            let sql = format!("select rolegate.drop_segment('{idle}')");
            let row = maintenance.query_one(&sql, &[]).await?;
            row.try_get::<_, bool>(0)
        };
        // Not before it has been idle for as long as it is said.
        assert!(!drop("10 minutes").await.unwrap());
        assert!(!stage.tick(Duration::from_secs(30)).await.segment_dropped);
        // One who has enqueued and not committed delays it, and is not waited for.
        stage.producer.batch_execute("begin").await.unwrap();
        stage.enqueue("x", 1).await;
        let held = drop("0").await.unwrap_err();
        assert_eq!(held.code().unwrap().code(), "55P03");
        stage.producer.batch_execute("commit").await.unwrap();
        // Nor one who sees what was.
        let mut reader = db.superuser().await;
        stage.run("delete from rolegate.job_idle_segment").await;
        let reading = reader
            .build_transaction()
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .start()
            .await
            .unwrap();
        reading.query("select 1", &[]).await.unwrap();
        stage.enqueue("x", 1).await;
        assert!(!drop("0").await.unwrap());
        reading.commit().await.unwrap();
        // Whoever vacuums has a snapshot, too.
        let until = async |number: i64| {
            for _ in 0..500 {
                if stage.number(segments).await == number {
                    return;
                }
                drop("0").await.unwrap();
                pause(10).await;
            }
            panic!("it does not shrink to {number}");
        };
        until(first + 7).await;
        // A row that came late to the highest one.
        let highest = first + 6;
        let late = format!(
            "update rolegate.job_turn set segment = {highest}; select rolegate.enqueue('late'); \
             update rolegate.job_turn set segment = 0"
        );
        stage.run(&late).await;
        assert!(!drop("0").await.unwrap());
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        let jobs = stage.claim(&worker, id, 10).await;
        assert_eq!(jobs.len(), 3);
        stage.complete(&worker, id, &jobs).await;
        stage.run(&format!("truncate rolegate.job_{highest}")).await;
        until(4).await;
        assert!(!drop("0").await.unwrap());
        assert_eq!(stage.number(segments).await, 4);
        // Everything goes on, and the ring can grow again.
        let more = stage.enqueue("x", 3).await;
        let jobs = stage.claim(&worker, id, 10).await;
        assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), more);
        stage.complete(&worker, id, &jobs).await;
        assert_eq!(
            stage.number("select rolegate.add_segment()::bigint").await,
            4
        );
    })
    .await;
}

#[tokio::test]
async fn another_process_takes_over_when_the_leader_is_killed() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let first = stage.lead();
        eventually(
            &stage.superuser,
            "select leads from rolegate.maintenance_leader()",
        )
        .await;
        let second = stage.lead();
        pause(500).await;
        let leader = "select term, name, leads from rolegate.maintenance_leader()";
        let row = stage.superuser.query_one(leader, &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 1);
        assert_eq!(row.get::<_, String>(1), first.name);
        // Its connection with the lock, and no other.
        stage
            .run("select pg_terminate_backend(pid) from rolegate.job_leader")
            .await;
        eventually(
            &stage.superuser,
            "select term = 2 and leads from rolegate.maintenance_leader()",
        )
        .await;
        let now: String = stage.superuser.query_one(leader, &[]).await.unwrap().get(1);
        assert!(now == second.name || now == first.name);
        // Whoever it is does the work.
        let sql = "select rolegate.enqueue('x', run_at => clock_timestamp() + interval '200 ms')";
        stage.producer.query_one(sql, &[]).await.unwrap();
        eventually(&stage.superuser, "select exists (select from rolegate.job)").await;
        // A process that stops lets go at once.
        let (stays, stops) = if now == second.name {
            (first, second)
        } else {
            (second, first)
        };
        assert!(stops.stop().await);
        eventually(
            &stage.superuser,
            "select term = 3 and leads from rolegate.maintenance_leader()",
        )
        .await;
        assert!(stays.stop().await);
        eventually(
            &stage.superuser,
            "select not leads from rolegate.maintenance_leader()",
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_hangs_is_ended_by_the_server() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        // What a leader's session sets, and then silence.
        let hanging = db.connect_as("rolegate_maintenance").await;
        hanging
            .batch_execute("set idle_session_timeout = '2s'")
            .await
            .unwrap();
        let sql = "select rolegate.lead_maintenance('hangs')";
        let term: Option<i64> = hanging.query_one(sql, &[]).await.unwrap().get(0);
        assert_eq!(term, Some(1));
        let leader = stage.lead();
        pause(500).await;
        assert_eq!(
            stage
                .number("select term from rolegate.maintenance_leader()")
                .await,
            1
        );
        eventually(
            &stage.superuser,
            "select term = 2 and leads from rolegate.maintenance_leader()",
        )
        .await;
        assert!(
            hanging.query_one(sql, &[]).await.is_err(),
            "it can do nothing any more"
        );
        // The lock's, the ring's, and the one that hears.
        eventually(
            &stage.superuser,
            "select count(*) = 3 from pg_stat_activity where datname = current_database() \
             and application_name = 'rolegate maintenance'",
        )
        .await;
        assert!(leader.stop().await);
    })
    .await;
}

#[tokio::test]
async fn two_leaders_have_one_effect() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.retention("0").await;
        let sql = "select rolegate.enqueue('x', jsonb_build_object('n', n), \
                   run_at => clock_timestamp() + interval '1500 ms') from generate_series(1, 3000) n";
        stage.producer.query(sql, &[]).await.unwrap();
        stage.enqueue("y", 10).await;
        let worker = stage.worker().await;
        let silent = stage.register(&worker).await;
        assert_eq!(stage.claim(&worker, silent, 10).await.len(), 10);
        pause(1700).await;
        // Passes without any lock, all at once.
        let passes = (0..4).map(|_| stage.tick(Duration::from_millis(500)));
        let reports = futures_util::future::join_all(passes).await;
        assert_eq!(
            reports.iter().map(|report| report.promoted).sum::<u64>(),
            3000
        );
        assert_eq!(
            reports
                .iter()
                .map(|report| report.jobs_rescued)
                .sum::<u64>(),
            10
        );
        assert_eq!(
            reports.iter().filter(|report| report.turn_begun).count(),
            1,
            "{reports:?}"
        );
        assert_eq!(
            stage
                .number("select count(*) from rolegate.job where kind = 'x'")
                .await,
            3000
        );
        let twice = "select count(*) from (select root from rolegate.job where root is not null \
                     group by root having count(*) > 1) r";
        assert_eq!(stage.number(twice).await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_is_idle_writes_nothing() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let leader = stage.lead();
        let standby = stage.lead();
        stage.cron("nightly", "0 0 29 2 *").await;
        stage.enqueue("x", 1).await;
        let sql = "select rolegate.enqueue('x', run_at => clock_timestamp() + interval '1 day')";
        stage.producer.query_one(sql, &[]).await.unwrap();
        // What a session has written is counted at its next look, and those are five seconds apart.
        pause(7000).await;
        let before = stage.written().await;
        let looks = "select xact_commit from pg_stat_database where datname = current_database()";
        let looked = stage.number(looks).await;
        pause(12_000).await;
        assert_eq!(stage.written().await, before);
        assert!(stage.number(looks).await > looked + 5, "there were looks");
        // One write is seen.
        stage.enqueue("x", 1).await;
        assert_eq!(stage.written().await, before + 1);
        assert!(leader.stop().await);
        assert!(standby.stop().await);
    })
    .await;
}

#[tokio::test]
async fn a_pass_says_what_it_did() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.cron("hourly", "0 * * * *").await;
        let sql = "select rolegate.enqueue('x', run_at => clock_timestamp() + interval '300 ms')";
        stage.producer.query_one(sql, &[]).await.unwrap();
        stage
            .run("update rolegate.job_cron set since = now() - interval '3 hours'")
            .await;
        pause(400).await;
        let report = stage.tick(Duration::from_secs(30)).await;
        assert_eq!((report.promoted, report.cron_jobs), (1, 1), "{report:?}");
        let again = stage.tick(Duration::from_secs(30)).await;
        assert_eq!(again, rolegate_jobs::maintenance::Report::default());
    })
    .await;
}

#[tokio::test]
async fn what_holds_the_horizon_is_in_the_metrics() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let shown = recorder.handle();
    // One recorder for the process; this test has one of its own.
    let _ = metrics::set_global_recorder(recorder);
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let mut holder = db.superuser().await;
        let holding = holder.transaction().await.unwrap();
        let number = "select pg_current_xact_id()::text";
        holding.query(number, &[]).await.unwrap();
        for _ in 0..5 {
            stage.superuser.query(number, &[]).await.unwrap();
        }
        let leader = stage.lead();
        let line = format!(
            "rolegate_xmin_horizon_transactions{{database=\"{}\",kind=\"transaction\"}}",
            db.name()
        );
        let mut found = None;
        for _ in 0..500 {
            found = shown
                .render()
                .lines()
                .find_map(|text| text.strip_prefix(&line)?.trim().parse::<f64>().ok());
            if found.is_some() {
                break;
            }
            pause(10).await;
        }
        assert!(found.is_some_and(|age| age >= 5.0), "{found:?}");
        let leads = format!(
            "rolegate_maintenance_leader{{database=\"{}\"}} 1",
            db.name()
        );
        assert!(shown.render().contains(&leads));
        holding.rollback().await.unwrap();
        assert!(leader.stop().await);
        assert!(!shown.render().contains(&leads));
    })
    .await;
}
