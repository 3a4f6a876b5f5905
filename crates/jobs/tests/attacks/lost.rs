//! What would lose a job, or run it again, where locks and snapshots don't fit each other.

use rolegate_testkit::{TestDatabase, for_each_version};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::stage::{Claimed, Stage, eventually, pause};

async fn operator(db: &TestDatabase) -> Client {
    let role = db.create_role("operator").await;
    let superuser = db.superuser().await;
    let grant = format!("grant rolegate_operator to {role}");
    superuser.batch_execute(&grant).await.unwrap();
    db.connect_as(&role).await
}

fn ids(jobs: &[Claimed]) -> Vec<i64> {
    jobs.iter().map(|job| job.id).collect()
}

async fn flag(client: &Client, sql: &str) -> bool {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Turns the ring until the first segment is not written to any more, and closed.
async fn close_the_first(stage: &Stage<'_>) {
    stage
        .run(
            "select rolegate.add_segment(); \
             insert into rolegate.job_turn (segment) values (1); \
             select rolegate.close_turns()",
        )
        .await;
    let closed = "select closed_at is not null from rolegate.job_turn where segment = 0";
    assert!(flag(&stage.superuser, closed).await);
}

/// A transaction that began before a turn writes to the one before, which is closed by then.
#[tokio::test]
async fn a_segment_with_a_running_job_is_not_emptied() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.retention("0").await;
        stage
            .producer
            .batch_execute("begin; select 1")
            .await
            .unwrap();
        close_the_first(&stage).await;
        let row = stage
            .producer
            .query_one("select rolegate.enqueue('late')", &[])
            .await
            .unwrap();
        stage.producer.batch_execute("commit").await.unwrap();
        let late: i64 = row.get(0);
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        let running = stage.claim(&worker, id, 10).await;
        assert_eq!(ids(&running), [late]);
        let empty = "select rolegate.empty_segment()";
        for _ in 0..3 {
            assert!(!flag(&stage.superuser, empty).await);
            stage
                .run("select rolegate.close_turns(), rolegate.carry_cursors()")
                .await;
        }
        assert_eq!(stage.number("select count(*) from rolegate.job").await, 1);
        stage.complete(&worker, id, &running).await;
        let idle = format!("select rolegate.worker_alive({id}, null)");
        worker.query(&idle, &[]).await.unwrap();
        stage.run("select rolegate.close_turns()").await;
        stage.run("select rolegate.carry_cursors()").await;
        assert!(flag(&stage.superuser, empty).await);
    })
    .await;
}

/// What became of a job may be written to an older segment than that it was handed out.
#[tokio::test]
async fn the_end_of_a_job_is_kept_as_long_as_its_worker_may_be_given_up() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.retention("0").await;
        let operator = operator(db).await;
        operator.batch_execute("begin; select 1").await.unwrap();
        close_the_first(&stage).await;
        let job = stage.enqueue("x", 1).await[0];
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        assert_eq!(ids(&stage.claim(&worker, id, 10).await), [job]);
        let cancel = format!("select rolegate.cancel({job}); commit");
        operator.batch_execute(&cancel).await.unwrap();
        let old = "select count(*) from rolegate.job_outcome where segment = 0";
        assert_eq!(stage.number(old).await, 1);
        stage.run("select rolegate.carry_cursors()").await;
        assert!(!flag(&stage.superuser, "select rolegate.empty_segment()").await);
        assert_eq!(
            stage
                .number("select sum(rolegate.abandon_worker(id)) from rolegate.job_worker")
                .await,
            0
        );
        let id = stage.register(&worker).await;
        assert!(stage.claim(&worker, id, 10).await.is_empty());
    })
    .await;
}

/// A worker that was idle for a day is forgotten, just when it claims.
#[tokio::test]
async fn who_is_forgotten_claims_nothing() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let job = stage.enqueue("x", 1).await[0];
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        let other = db.superuser().await;
        let forget = format!("begin; delete from rolegate.job_worker where id = {id}");
        other.batch_execute(&forget).await.unwrap();
        let sql = format!("select from rolegate.claim_jobs({id}, '{{1}}', 10)");
        let (claimed, ()) = tokio::join!(worker.query(&sql, &[]), async {
            let waits = "select exists (select from pg_locks where not granted and locktype = 'transactionid' \
                and pid in (select pid from pg_stat_activity where datname = current_database()))";
            eventually(&stage.superuser, waits).await;
            other.batch_execute("commit").await.unwrap();
        });
        let error = claimed.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::NO_DATA_FOUND), "{error:?}");
        let id = stage.register(&worker).await;
        assert_eq!(ids(&stage.claim(&worker, id, 10).await), [job]);
    })
    .await;
}

/// A database may have another level as its default.
#[tokio::test]
async fn a_snapshot_of_before_a_lock_is_refused() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.enqueue("x", 1).await;
        let set = format!(
            "alter database {} set default_transaction_isolation = 'repeatable read'",
            db.name()
        );
        stage.run(&set).await;
        let worker = stage.worker().await;
        let maintenance = db.connect_as("rolegate_maintenance").await;
        for (client, sql) in [
            (&worker, "select from rolegate.claim_jobs(1, '{1}', 1)"),
            (&worker, "select rolegate.finish_jobs(1, '{}', '{}', '{}')"),
            (
                &worker,
                "select rolegate.note_jobs(1, '{}', '{}', '{}', '{}')",
            ),
            (&worker, "select rolegate.unregister_worker(1)"),
            (&worker, "select rolegate.give_back_claims(1, '{}', '{}')"),
            (&maintenance, "select rolegate.rotate_jobs()"),
            (&maintenance, "select rolegate.close_turns()"),
            (&maintenance, "select rolegate.carry_cursors()"),
            (&maintenance, "select rolegate.empty_segment()"),
            (&maintenance, "select rolegate.drop_segment()"),
        ] {
            let error = client.query(sql, &[]).await.unwrap_err();
            let error = error.as_db_error().unwrap();
            assert_eq!(error.code(), &SqlState::INVALID_TRANSACTION_STATE, "{sql}");
            assert!(error.message().contains("READ COMMITTED"), "{error}");
            assert!(error.hint().is_some());
        }
        // Our own connections say which they want.
        stage.tick(std::time::Duration::from_hours(1)).await;
    })
    .await;
}

/// Its children's ends are looked at by workers of the queue that it is in now; and who puts it into its lane does
/// not take it at once.
#[tokio::test]
async fn a_parent_that_was_moved_runs_once() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let operator = operator(db).await;
        stage.run("select rolegate.create_queue('second')").await;
        let worker = stage.worker().await;
        let sql = "select worker from rolegate.register_worker('w', '', '{default,second}')";
        let id: i64 = worker.query_one(sql, &[]).await.unwrap().get(0);
        for (queues, ended_before) in [("{2}", false), ("{2}", true), ("{1,2}", true)] {
            let flow = r#"select rolegate.enqueue_flow('{"kind": "parent", "children": [{"kind": "child"}]}')"#;
            let parent: i64 = stage.producer.query_one(flow, &[]).await.unwrap().get(0);
            let sql = "select claim, ordinal, claimed_at, flags from rolegate.claim_jobs($1, '{1}', 10)";
            let child = worker.query_one(sql, &[&id]).await.unwrap();
            let ends = async || {
                let (claim, ordinal): (i64, i16) = (child.get(0), child.get(1));
                let (at, flags): (std::time::SystemTime, i16) = (child.get(2), child.get(3));
                let sql = "select rolegate.finish_jobs($1, array[$2::bigint], array[$3::smallint], \
                    array[$4::timestamptz], '{c}', array[null::jsonb], array[$5::smallint])";
                let row = worker.query_one(sql, &[&id, &claim, &ordinal, &at, &flags]).await.unwrap();
                assert_eq!(row.get::<_, Vec<i32>>(0), [0; 0]);
            };
            if ended_before {
                // Noted for the queue that it was in.
                ends().await;
            }
            let moved = format!("select rolegate.move_job({parent}, 'second')");
            assert!(flag(&operator, &moved).await);
            let claims = async || -> Vec<i64> {
                let mut found = Vec::new();
                for _ in 0..6 {
                    let sql = "select root from rolegate.claim_jobs($1, $2::text::int[], 10) \
                        where claim is not null";
                    let rows = worker.query(sql, &[&id, &queues]).await.unwrap();
                    found.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
                }
                found
            };
            if !ended_before {
                // What was noted by the move is looked at before there is anything to see.
                assert_eq!(claims().await, [0; 0]);
                ends().await;
            }
            let found = claims().await;
            assert_eq!(found, [parent], "{queues} {ended_before}");
        }
    })
    .await;
}

/// What a queue was drained of keeps its key when it comes back.
#[tokio::test]
async fn who_is_drained_and_comes_back_has_its_key() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let operator = operator(db).await;
        let mut jobs = Vec::new();
        for _ in 0..2 {
            let sql = "select rolegate.enqueue('x', ordering_key => 'k')";
            jobs.push(
                stage
                    .producer
                    .query_one(sql, &[])
                    .await
                    .unwrap()
                    .get::<_, i64>(0),
            );
        }
        while stage_drain(&operator).await > 0 {}
        for job in &jobs {
            assert!(flag(&operator, &format!("select rolegate.retry({job})")).await);
        }
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        let mut running = Vec::new();
        for _ in 0..4 {
            running.extend(stage.claim(&worker, id, 10).await);
        }
        assert_eq!(running.len(), 1, "one of a key runs at a time");
    })
    .await;
}

async fn stage_drain(operator: &Client) -> i32 {
    let sql = "select rolegate.drain_queue('default')";
    operator.query_one(sql, &[]).await.unwrap().get(0)
}

/// The transaction ids of a dump are of another cluster, and further than those of this one.
#[tokio::test]
async fn what_is_restored_elsewhere_runs_once() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let operator = operator(db).await;
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        let handed_out = stage.enqueue("x", 2).await;
        stage.producer.batch_execute("begin").await.unwrap();
        let late = stage.enqueue("late", 2).await;
        let other = db.connect_as(&current_user(&stage.producer).await).await;
        let row = other.query_one("select rolegate.enqueue('x')", &[]).await.unwrap();
        let last: i64 = row.get(0);
        let open = stage.claim(&worker, id, 10).await;
        assert_eq!(ids(&open), [handed_out[0], handed_out[1], last]);
        stage.producer.batch_execute("commit").await.unwrap();
        let backlog = stage.enqueue("x", 3).await;
        let second: i64 = stage
            .producer
            .query_one("select rolegate.enqueue('x', priority => 3)", &[])
            .await
            .unwrap()
            .get(0);
        assert!(flag(&operator, &format!("select rolegate.cancel({})", late[1])).await);
        stage
            .run(
                "create function pg_temp.later(x xid8) returns xid8 language sql \
                     return (x::text::bigint + 1000000)::text::xid8; \
                 create function pg_temp.later(s pg_snapshot) returns pg_snapshot language sql return \
                     (pg_temp.later(pg_snapshot_xmin(s))::text || ':' || pg_temp.later(pg_snapshot_xmax(s))::text \
                     || ':' || coalesce((select string_agg(pg_temp.later(x)::text, ',') \
                        from pg_snapshot_xip(s) x), ''))::pg_snapshot; \
                 update rolegate.job set xid = pg_temp.later(xid); \
                 update rolegate.job_claim set seen = pg_temp.later(seen), \
                     open_xids = array(select pg_temp.later(x) from unnest(open_xids) x); \
                 update rolegate.job_cluster set system_identifier = 1",
            )
            .await;
        // Enqueued before anybody noticed.
        let new = stage.enqueue("x", 1).await;
        let id = stage.register(&worker).await;
        let mut claimed = Vec::new();
        for _ in 0..10 {
            claimed.extend(ids(&stage.claim(&worker, id, 1).await));
        }
        claimed.sort_unstable();
        let mut wanted = vec![late[0], backlog[0], backlog[1], backlog[2], second, new[0]];
        wanted.sort_unstable();
        assert_eq!(claimed, wanted);
        let cancelled = "select count(*) from rolegate.job_ended where state = 'cancelled'";
        assert_eq!(stage.number(cancelled).await, 1);
        // What was handed out there is open, as after a crash.
        let sql = "select rolegate.abandon_worker(min(id))::bigint from rolegate.job_worker";
        assert_eq!(stage.number(sql).await, 3);
        pause(1).await;
    })
    .await;
}

async fn current_user(client: &Client) -> String {
    let row = client
        .query_one("select session_user::text", &[])
        .await
        .unwrap();
    row.get(0)
}
