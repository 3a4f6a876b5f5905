//! Principals are removed when no job is of them, and never while one may be.
#![allow(clippy::unwrap_used)]

mod stage;

use rolegate_testkit::for_each_version;
use stage::{Stage, pause};
use tokio_postgres::{Client, IsolationLevel};

const OLD: &str = "update rolegate.job_principal set seen_at = now() - interval '2 days'";
const ENQUEUE: &str = "select rolegate.enqueue('x')";

/// Retired, removed.
async fn sweep(maintenance: &Client) -> (i32, i32) {
    let sql = "select retired, removed from rolegate.sweep_principals('1 day', 1000)";
    let row = maintenance.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

/// Steps until one removes something or takes nothing more to do; how many were removed.
async fn sweep_all(maintenance: &Client) -> i32 {
    let mut removed = 0;
    for _ in 0..50 {
        let sql = "select removed, again from rolegate.sweep_principals('1 day', 1000)";
        let row = maintenance.query_one(sql, &[]).await.unwrap();
        removed += row.get::<_, i32>(0);
        if !row.get::<_, bool>(1) {
            return removed;
        }
        pause(10).await;
    }
    panic!("it waits for ever");
}

/// As after another turn of the ring.
async fn look_again(stage: &Stage<'_>) {
    stage
        .run("update rolegate.job_principal_sweep set turn = 0")
        .await;
}

/// Every job's principal is there, and jobs can be read.
async fn nothing_is_missing(stage: &Stage<'_>) {
    let lost = "select count(*) from rolegate.used_principals() u (id) \
                where not exists (select from rolegate.job_principal p where p.id = u.id)";
    assert_eq!(stage.number(lost).await, 0);
    let jobs = "select (select count(*) from rolegate.job where root is null) \
        + (select count(*) from rolegate.job_deferred)";
    let jobs = stage.number(jobs).await;
    let seen = stage
        .number("select count(*) from rolegate.list_jobs(max_rows => 1000)")
        .await;
    assert_eq!(seen, jobs);
}

#[tokio::test]
async fn those_without_jobs_are_removed() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let maintenance = db.connect_as("rolegate_maintenance").await;
        let mut roles = Vec::new();
        for name in ["ring", "later", "ended", "cron", "gone", "young"] {
            let role = db.create_role(name).await;
            stage
                .run(&format!("grant rolegate_producer to {role}"))
                .await;
            let client = db.connect_as(&role).await;
            let job = match name {
                "later" => "select rolegate.enqueue('x', run_at => now() + interval '1 day')",
                _ => ENQUEUE,
            };
            let id: i64 = client.query_one(job, &[]).await.unwrap().get(0);
            if name == "ended" {
                let cancel = "select rolegate.cancel($1)";
                client.query_one(cancel, &[&id]).await.unwrap();
            }
            roles.push((role, id));
        }
        stage.run(OLD).await;
        stage
            .run(&format!(
                "update rolegate.job_principal set seen_at = now() where role_name = '{}'",
                roles[5].0
            ))
            .await;
        stage.cron("nightly", "0 0 * * *").await;
        stage
            .run(&format!(
                "update rolegate.job_cron set principal = \
                    (select id from rolegate.job_principal where role_name = '{}')",
                roles[3].0
            ))
            .await;
        // As when the ring has forgotten them.
        stage
            .run(&format!(
                "delete from rolegate.job where id not in ({}); {OLD} where role_name = 'postgres'",
                roles[0].1
            ))
            .await;
        assert_eq!(sweep_all(&maintenance).await, 2, "the superuser's and one");
        let left = "select string_agg(role_name, ' ' order by id) from rolegate.job_principal";
        let left: String = stage.superuser.query_one(left, &[]).await.unwrap().get(0);
        let kept = [
            &roles[0].0,
            &roles[1].0,
            &roles[2].0,
            &roles[3].0,
            &roles[5].0,
        ];
        assert_eq!(left, kept.map(String::as_str).join(" "));
        // Until the ring has another turn there is nothing to look at.
        stage
            .run("delete from rolegate.job; delete from rolegate.job_ended")
            .await;
        assert_eq!(sweep(&maintenance).await, (0, 0));
        stage
            .run("insert into rolegate.job_turn (segment) values (1)")
            .await;
        assert_eq!(sweep_all(&maintenance).await, 2);
        nothing_is_missing(&stage).await;
    })
    .await;
}

#[tokio::test]
async fn whoever_may_have_found_one_is_waited_for_and_waits_for_nobody() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let maintenance = db.connect_as("rolegate_maintenance").await;
        let role: String = stage
            .producer
            .query_one("select current_user::text", &[])
            .await
            .unwrap()
            .get(0);
        let mut repeatable = db.connect_as(&role).await;
        let mut committed = db.connect_as(&role).await;
        let prepared = db.connect_as(&role).await;
        let first = "select id from rolegate.job_principal order by id limit 1";

        // One with a snapshot of before, which enqueues after it was retired.
        for commits in [true, false] {
            stage.enqueue("forgotten", 1).await;
            stage.run(&format!("truncate rolegate.job; {OLD}")).await;
            look_again(&stage).await;
            let principal = stage.number(first).await;
            let old = repeatable
                .build_transaction()
                .isolation_level(IsolationLevel::RepeatableRead)
                .start()
                .await
                .unwrap();
            old.batch_execute("select 1").await.unwrap();
            assert_eq!(sweep(&maintenance).await, (1, 0));
            for _ in 0..5 {
                assert_eq!(sweep(&maintenance).await, (0, 0));
            }
            old.batch_execute(ENQUEUE).await.unwrap();
            assert_eq!(sweep(&maintenance).await, (0, 0));
            if commits {
                old.commit().await.unwrap();
                assert_eq!(sweep_all(&maintenance).await, 0);
                assert_eq!(stage.number(first).await, principal);
            } else {
                old.rollback().await.unwrap();
                assert_eq!(sweep_all(&maintenance).await, 1);
            }
            nothing_is_missing(&stage).await;
        }

        // One that has enqueued and holds no snapshot any more.
        for end in ["commit", "rollback", "prepare transaction 'sweep'"] {
            stage.enqueue("forgotten", 1).await;
            stage.run(&format!("truncate rolegate.job; {OLD}")).await;
            look_again(&stage).await;
            let is_prepared = end.starts_with("prepare");
            let client = if is_prepared { &prepared } else { &committed };
            client.batch_execute("begin").await.unwrap();
            client.batch_execute(ENQUEUE).await.unwrap();
            assert_eq!(sweep(&maintenance).await, (1, 0));
            for _ in 0..5 {
                assert_eq!(sweep(&maintenance).await, (0, 0));
            }
            client.batch_execute(end).await.unwrap();
            if is_prepared {
                for _ in 0..5 {
                    assert_eq!(sweep(&maintenance).await, (0, 0));
                }
                prepared
                    .batch_execute("commit prepared 'sweep'")
                    .await
                    .unwrap();
            }
            let removed = sweep_all(&maintenance).await;
            assert_eq!(removed, i32::from(end == "rollback"), "{end}");
            nothing_is_missing(&stage).await;
        }

        // Nobody waits for one who sweeps.
        stage.run(&format!("truncate rolegate.job; {OLD}")).await;
        look_again(&stage).await;
        let mut sweeper = db.connect_as("rolegate_maintenance").await;
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        for client in [&stage.producer, &worker] {
            client
                .batch_execute("set lock_timeout = '1ms'")
                .await
                .unwrap();
        }
        for _ in 0..3 {
            let sweeping = sweeper.transaction().await.unwrap();
            let sql = "select removed from rolegate.sweep_principals('1 day', 1000)";
            sweeping.query_one(sql, &[]).await.unwrap();
            stage.enqueue("x", 2).await;
            stage.claim(&worker, id, 10).await;
            let other = committed.transaction().await.unwrap();
            other.batch_execute(ENQUEUE).await.unwrap();
            other.commit().await.unwrap();
            sweeping.commit().await.unwrap();
        }
        nothing_is_missing(&stage).await;
    })
    .await;
}

#[tokio::test]
async fn many_enqueue_while_principals_are_swept() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let mut everybody: Vec<std::pin::Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
        for name in ["a", "b", "c"] {
            let role = db.create_role(name).await;
            stage
                .run(&format!("grant rolegate_producer to {role}"))
                .await;
            let client = db.connect_as(&role).await;
            everybody.push(Box::pin(async move {
                for turn in 0..150 {
                    let level = ["read committed", "repeatable read"][turn % 2];
                    let end = ["commit", "rollback", "commit"][turn % 3];
                    let begin = format!("begin isolation level {level}; select 1");
                    client.batch_execute(&begin).await.unwrap();
                    pause(u64::try_from(turn % 4).unwrap()).await;
                    client.batch_execute(ENQUEUE).await.unwrap();
                    pause(u64::try_from(turn % 3).unwrap()).await;
                    client.batch_execute(end).await.unwrap();
                }
            }));
        }
        let maintenance = db.connect_as("rolegate_maintenance").await;
        let superuser = db.superuser().await;
        everybody.push(Box::pin(async move {
            let (mut removed, mut seen) = (0, 0);
            for _ in 0..400 {
                // All are old, and of most there is no job.
                let forget = "delete from rolegate.job \
                        where enqueued_at < clock_timestamp() - interval '5 ms'; \
                    update rolegate.job_principal_sweep set turn = 0";
                superuser.batch_execute(forget).await.unwrap();
                let sql = "select removed from rolegate.sweep_principals('-1 day', 1000)";
                let row = maintenance.query_one(sql, &[]).await.unwrap();
                removed += row.get::<_, i32>(0);
                let lost = "select count(*), count(*) filter (where not exists ( \
                        select from rolegate.job_principal p where p.id = j.principal)) \
                    from rolegate.job j";
                let row = superuser.query_one(lost, &[]).await.unwrap();
                seen += row.get::<_, i64>(0);
                assert_eq!(row.get::<_, i64>(1), 0);
                pause(1).await;
            }
            assert!(seen > 0);
            assert!(removed > 0);
        }));
        futures_util::future::join_all(everybody).await;
        nothing_is_missing(&stage).await;
    })
    .await;
}

#[tokio::test]
async fn jobs_of_a_role_that_was_made_again_are_its_own_when_an_operator_says_so() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let admitted = rolegate_testkit::Admitted::Login;
        let clerk = db.create_role_with("clerk", "login", admitted).await;
        let other = db.create_role("other").await;
        let operator = db.create_role("operator").await;
        stage
            .run(&format!(
                "grant rolegate_producer to {clerk}, {other}; grant rolegate_operator to {operator}; \
                 grant {clerk} to {operator}"
            ))
            .await;
        for role in [&clerk, &other] {
            db.connect_as(role).await.batch_execute(ENQUEUE).await.unwrap();
        }
        let operator = db.connect_as(&operator).await;
        let rebind = async |dry_run: bool| -> Vec<(String, bool, i64, bool)> {
            let sql = "select role_name, new_oid = role_name::regrole, principals, refused is null \
                       from rolegate.rebind_jobs(dry_run => $1)";
            let rows = operator.query(sql, &[&dry_run]).await.unwrap();
            rows.iter()
                .map(|row| {
                    let is_now: Option<bool> = row.get(1);
                    (row.get(0), is_now.unwrap_or_default(), row.get(2), row.get(3))
                })
                .collect()
        };
        assert_eq!(rebind(false).await, []);
        stage
            .run("update rolegate.job_principal set role_oid = (role_oid::int8 + 1000000)::oid")
            .await;
        let now = db.connect_as(&clerk).await;
        let count = "select count(*) from rolegate.list_jobs()";
        assert_eq!(now.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 0);
        let mut wanted = vec![(clerk.clone(), true, 1, true), (other.clone(), false, 1, false)];
        wanted.sort();
        assert_eq!(rebind(true).await, wanted);
        assert_eq!(now.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 0);
        assert_eq!(rebind(false).await, wanted);
        wanted.retain(|(role, ..)| *role == other);
        assert_eq!(rebind(false).await, wanted, "he is not the operator's");
        // Its next job is of the same principal.
        now.batch_execute(ENQUEUE).await.unwrap();
        let theirs = "select count(distinct principal) from rolegate.job";
        assert_eq!(stage.number(theirs).await, 2);
        assert_eq!(now.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 2);
        let refused = now.batch_execute("select rolegate.rebind_jobs()").await;
        assert_eq!(refused.unwrap_err().code().unwrap().code(), "42501");
    })
    .await;
}
