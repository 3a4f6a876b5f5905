//! The leader of the maintenance loses its connection while it works.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rolegate_testkit::for_each_version;

use super::stage::{Stage, eventually, pause};

const LEADS: &str = "select leads from rolegate.maintenance_leader()";

#[tokio::test]
async fn a_promotion_that_is_cut_off_happens_once() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let (first, second) = (stage.lead(), stage.lead());
        eventually(&stage.superuser, LEADS).await;
        // Promotion has taken the jobs out of waiting when it comes to this lock.
        let mut other = db.superuser().await;
        let holding = other.transaction().await.unwrap();
        holding
            .batch_execute("lock table rolegate.job in share mode")
            .await
            .unwrap();
        let sql = "select rolegate.enqueue('x', to_jsonb(n), \
                   run_at => clock_timestamp() + interval '500 ms') from generate_series(1, 300) n";
        stage.producer.query(sql, &[]).await.unwrap();
        let waits = "select exists (select from pg_stat_activity a join rolegate.job_leader l \
                     on l.pid = a.pid where a.wait_event_type = 'Lock')";
        eventually(&stage.superuser, waits).await;
        stage
            .run("select pg_terminate_backend(pid) from rolegate.job_leader")
            .await;
        eventually(
            &stage.superuser,
            "select term = 2 and leads from rolegate.maintenance_leader()",
        )
        .await;
        holding.rollback().await.unwrap();
        eventually(
            &stage.superuser,
            "select not exists (select from rolegate.job_deferred)",
        )
        .await;
        let once = "select count(*) from (select args from rolegate.job group by args having count(*) = 1) j";
        assert_eq!(stage.number(once).await, 300);
        assert_eq!(stage.number("select count(*) from rolegate.job").await, 300);
        assert!(first.stop().await && second.stop().await);
    })
    .await;
}

#[tokio::test]
async fn a_callback_expires_once_whoever_leads() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        stage.enqueue("x", 40).await;
        let claimed = stage.claim(&worker, id, 40).await;
        for job in &claimed {
            let sql = "select rolegate.register_callback($1, $2, $3, '1500 ms')";
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
                [&job.claim, &job.ordinal, &job.at];
            worker.query_one(sql, &values).await.unwrap();
            let sql = "select rolegate.finish_jobs($1, array[$2]::bigint[], array[$3]::smallint[], \
                       array[$4]::timestamptz[], '{w}')";
            worker
                .query_one(sql, &[&id, &job.claim, &job.ordinal, &job.at])
                .await
                .unwrap();
        }
        let processes = [stage.lead(), stage.lead(), stage.lead()];
        // Around the time when they expire no leader lives for long.
        for _ in 0..12 {
            stage
                .run(
                    "select pg_terminate_backend(pid) from pg_stat_activity \
                     where datname = current_database() and usename = 'rolegate_maintenance'",
                )
                .await;
            pause(250).await;
        }
        let expired = "select count(*) = 40 from rolegate.job_callback where state = 'expired'";
        eventually(&stage.superuser, expired).await;
        // Each is one failed attempt and waits for its next one, or is in its lane already.
        let once = "select count(*) from (select root from rolegate.job_deferred where attempt = 1 \
            union all select root from rolegate.job where root is not null and attempt = 1) j";
        assert_eq!(stage.number(once).await, 40);
        let more = "select count(*) from rolegate.job_parked where state = 'waiting'";
        assert_eq!(stage.number(more).await, 0);
        for process in processes {
            assert!(process.stop().await);
        }
    })
    .await;
}

/// Somebody decides about a job of one of two dead workers, and takes his time.
#[tokio::test]
async fn a_lock_that_is_held_keeps_no_other_worker_from_being_rescued() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let worker = stage.worker().await;
        for lock in [
            "claim_lock_key(max(c.id))",
            "worker_lock_key(max(c.worker))",
        ] {
            stage.enqueue("x", 3).await;
            let (first, second) = (stage.register(&worker).await, stage.register(&worker).await);
            let held = stage.claim(&worker, first, 1).await;
            let sql = format!("select pg_advisory_lock(rolegate.{lock}) from rolegate.job_claim c");
            stage.run(&sql).await;
            assert_eq!(held.len() + stage.claim(&worker, second, 2).await.len(), 3);
            pause(20).await;
            let report = stage.tick(Duration::from_millis(10)).await;
            assert_eq!(
                (report.workers_rescued, report.jobs_rescued),
                (1, 2),
                "{lock}"
            );
            stage.run("select pg_advisory_unlock_all()").await;
            let report = stage.tick(Duration::from_millis(10)).await;
            assert_eq!(
                (report.workers_rescued, report.jobs_rescued),
                (1, 1),
                "{lock}"
            );
            let last = stage.register(&worker).await;
            let again = stage.claim(&worker, last, 10).await;
            assert_eq!(again.len(), 3, "each once");
            stage.complete(&worker, last, &again).await;
            let sql = "select rolegate.unregister_worker($1)";
            worker.query_one(sql, &[&last]).await.unwrap();
        }
    })
    .await;
}

/// Lines of the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn whoever_has_the_key_while_nobody_leads_is_named() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let named = || -> Vec<(i64, String)> {
            let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            text.lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
                .map(|mut line| line["fields"].take())
                .filter(|event| event["message"] == "leader_key_held")
                .map(|event| {
                    (
                        event["pid"].as_i64().unwrap(),
                        event["role"].as_str().unwrap().to_owned(),
                    )
                })
                .collect()
        };
        let holder = db.superuser().await;
        let take = "select pg_backend_pid() from pg_advisory_lock(rolegate.leader_lock_key())";
        let pid: i32 = holder.query_one(take, &[]).await.unwrap().get(0);
        let waiting = stage.lead();
        // Two looks are two seconds apart; a third one says nothing more.
        pause(7000).await;
        assert_eq!(named(), [(i64::from(pid), "postgres".to_owned())]);
        let give = "select pg_advisory_unlock_all()";
        holder.query_one(give, &[]).await.unwrap();
        eventually(&stage.superuser, LEADS).await;
        // A leader is nobody whom the others name.
        let second = stage.lead();
        pause(5000).await;
        assert_eq!(named().len(), 1);
        lines.0.lock().unwrap().clear();
        assert!(waiting.stop().await && second.stop().await);
    })
    .await;
}
