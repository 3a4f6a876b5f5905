//! Cron under the logins that use it: an operator declares, the maintenance fires.
#![allow(clippy::unwrap_used)]

mod stage;

use std::time::Duration;

use rolegate_testkit::{Admitted, for_each_version};
use stage::{Stage, eventually, pause};
use tokio_postgres::Client;

/// An ordinary role that is an operator and a producer's master.
async fn operator(stage: &Stage<'_>) -> (String, Client) {
    let role = stage.db.create_role("operator").await;
    stage
        .run(&format!("grant rolegate_operator to {role}"))
        .await;
    let client = stage.db.connect_as(&role).await;
    (role, client)
}

async fn tick(stage: &Stage<'_>) -> u64 {
    stage.tick(Duration::from_secs(30)).await.cron_jobs
}

/// The times its jobs are for, in the order of the jobs.
async fn fire_times(stage: &Stage<'_>) -> Vec<String> {
    let sql = "select options -> 'metadata' ->> 'fire_time' from rolegate.job order by id";
    let rows = stage.superuser.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn an_entry_fires_on_time_as_the_role_that_declared_it() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let (role, client) = operator(&stage).await;
        let leader = stage.lead();
        pause(300).await;
        let sql = r#"select rolegate.set_cron('every second', '* * * * * *', 'beat', '{"n": 1.10}',
                     priority => 3, max_attempts => 7)"#;
        assert!(client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0));
        // The leader sleeps, and is told.
        eventually(&stage.superuser, "select count(*) >= 3 from rolegate.job").await;
        assert!(!client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0));
        let job = stage
            .superuser
            .query_one(
                "select j.kind, j.args::text, j.lane, j.max_attempts, p.role_name::text, p.claims::text, \
                 extract(epoch from j.enqueued_at \
                     - (j.options -> 'metadata' ->> 'fire_time')::timestamptz)::float8 \
                 from rolegate.job j join rolegate.job_principal p on p.id = j.principal \
                 order by j.id limit 1",
                &[],
            )
            .await
            .unwrap();
        assert_eq!(job.get::<_, String>(0), "beat");
        assert_eq!(job.get::<_, String>(1), r#"{"n": 1.10}"#);
        assert_eq!(job.get::<_, i32>(2), 4 + 2);
        assert_eq!(job.get::<_, i16>(3), 7);
        assert_eq!(job.get::<_, String>(4), role);
        assert_eq!(job.get::<_, Option<String>>(5), None);
        let late: f64 = job.get(6);
        assert!((0.0..1.0).contains(&late), "{late} s late");
        let once = "select count(*) - count(distinct options -> 'metadata' ->> 'fire_time') from rolegate.job";
        assert_eq!(stage.number(once).await, 0);
        assert!(leader.stop().await);
    })
    .await;
}

#[tokio::test]
async fn no_time_fires_twice_whoever_looks() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.cron("a", "* * * * *").await;
        for _ in 0..5 {
            stage
                .run(
                    "update rolegate.job_cron set since = now() - interval '90 s', \
                      last_fire = null, next_fire = null, missed = 'catch_up'",
                )
                .await;
            stage.run("truncate rolegate.job").await;
            let looks = (0..6).map(|_| tick(&stage));
            let fired: u64 = futures_util::future::join_all(looks).await.iter().sum();
            let times = fire_times(&stage).await;
            let mut once = times.clone();
            once.dedup();
            assert_eq!(times, once);
            assert!((1..=2).contains(&times.len()), "{times:?}");
            assert_eq!(u64::try_from(times.len()).unwrap(), fired);
        }
        // By hand: two leaders that computed from the same look.
        stage.run("truncate rolegate.job").await;
        let mut one = db.connect_as("rolegate_maintenance").await;
        let two = db.connect_as("rolegate_maintenance").await;
        let revision = stage.number("select revision from rolegate.job_cron").await;
        let sql = "select rolegate.fire_cron('a', $1, array[now()], now() + interval '1 minute')";
        let first = one.transaction().await.unwrap();
        let fired: Option<i32> = first.query_one(sql, &[&revision]).await.unwrap().get(0);
        assert_eq!(fired, Some(1));
        let second = tokio::spawn(async move {
            let row = two.query_one(sql, &[&revision]).await.unwrap();
            row.get::<_, Option<i32>>(0)
        });
        pause(200).await;
        assert!(!second.is_finished(), "it waits for the first");
        first.commit().await.unwrap();
        assert_eq!(second.await.unwrap(), None);
        assert_eq!(stage.number("select count(*) from rolegate.job").await, 1);
        // The first one's transaction is lost: the second fires.
        let revision = stage.number("select revision from rolegate.job_cron").await;
        let first = one.transaction().await.unwrap();
        first.query_one(sql, &[&revision]).await.unwrap();
        first.rollback().await.unwrap();
        let again: Option<i32> = one.query_one(sql, &[&revision]).await.unwrap().get(0);
        assert_eq!(again, Some(1));
        assert_eq!(stage.number("select count(*) from rolegate.job").await, 2);
    })
    .await;
}

#[tokio::test]
async fn times_that_passed_are_coalesced_or_caught_up_within_a_bound() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.cron("last", "0 * * * *").await;
        let passed = "update rolegate.job_cron set since = date_trunc('hour', now()) - interval '5 hours', \
                      next_fire = date_trunc('hour', now()) - interval '4 hours'";
        stage.run(passed).await;
        assert_eq!(tick(&stage).await, 1);
        assert_eq!(tick(&stage).await, 0);
        let last = "select (options -> 'metadata' ->> 'fire_time')::timestamptz \
                    = date_trunc('hour', now()) from rolegate.job";
        assert!(stage.superuser.query_one(last, &[]).await.unwrap().get::<_, bool>(0));

        stage.run("truncate rolegate.job").await;
        stage
            .run(&format!("{passed}, last_fire = null, missed = 'catch_up'"))
            .await;
        assert_eq!(tick(&stage).await, 5);
        assert_eq!(tick(&stage).await, 0);
        let times = fire_times(&stage).await;
        let mut sorted = times.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(times, sorted);

        stage.run("truncate rolegate.job; delete from rolegate.job_cron").await;
        stage.cron("often", "* * * * * *").await;
        stage
            .run("update rolegate.job_cron set since = now() - interval '3 days', missed = 'catch_up'")
            .await;
        assert_eq!(tick(&stage).await, 1000);
        let newest = "select (extract(epoch from now() - max( \
                      (options -> 'metadata' ->> 'fire_time')::timestamptz)))::bigint from rolegate.job";
        assert!(stage.number(newest).await <= 2);
    })
    .await;
}

#[tokio::test]
async fn a_paused_entry_fires_only_by_hand_and_not_afterwards() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let (_, client) = operator(&stage).await;
        client
            .query_one("select rolegate.set_cron('p', '* * * * * *', 'x')", &[])
            .await
            .unwrap();
        let truth = async |sql: &str| -> bool { client.query_one(sql, &[]).await.unwrap().get(0) };
        assert!(truth("select rolegate.pause_cron('p')").await);
        assert!(!truth("select rolegate.pause_cron('p')").await);
        stage
            .run("update rolegate.job_cron set since = now() - interval '1 hour'")
            .await;
        assert_eq!(tick(&stage).await, 0);
        let made: i64 = client
            .query_one("select rolegate.trigger_cron('p')", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(stage.number("select id from rolegate.job").await, made);
        // Setting it again keeps the pause.
        assert!(!truth("select rolegate.set_cron('p', '*/2 * * * * *', 'x')").await);
        assert!(truth("select paused_by is not null from rolegate.list_crons()").await);
        // A leader that had looked before the pause fires nothing.
        let maintenance = db.connect_as("rolegate_maintenance").await;
        let revision = stage.number("select revision from rolegate.job_cron").await;
        let fired: Option<i32> = maintenance
            .query_one(
                "select rolegate.fire_cron('p', $1, array[now()], null)",
                &[&revision],
            )
            .await
            .unwrap()
            .get(0);
        assert_eq!(fired, None);
        assert!(truth("select rolegate.resume_cron('p')").await);
        assert!(!truth("select rolegate.resume_cron('p')").await);
        // The hour before is over.
        pause(2100).await;
        let fired = tick(&stage).await;
        assert_eq!(fired, 1);
        let since = "select (extract(epoch from now() - min( \
                     (options -> 'metadata' ->> 'fire_time')::timestamptz)))::bigint from rolegate.job \
                     where options -> 'metadata' -> 'manual' = 'false'";
        assert!(stage.number(since).await <= 4);
        assert!(truth("select rolegate.remove_cron('p')").await);
        assert!(!truth("select rolegate.remove_cron('p')").await);
        for function in ["pause_cron", "resume_cron", "trigger_cron"] {
            let error = client
                .query_one(&format!("select rolegate.{function}('p')"), &[])
                .await
                .unwrap_err();
            assert_eq!(error.code().unwrap().code(), "42704");
        }
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_shown_and_keeps_no_other_from_firing() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.cron("bad", "every tuesday").await;
        stage.cron("good", "* * * * *").await;
        stage.cron("never", "0 0 30 2 *").await;
        stage
            .run("select rolegate.set_cron('zone', '@daily', 'x', time_zone => 'Europe/Nowhere')")
            .await;
        stage
            .run("update rolegate.job_cron set since = now() - interval '2 minutes'")
            .await;
        assert_eq!(tick(&stage).await, 1);
        let problems = "select name, problem from rolegate.list_crons() \
                        where problem is not null order by name";
        let rows = stage.superuser.query(problems, &[]).await.unwrap();
        let said: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[0].0 == "bad" && said[0].1.contains("every tuesday"),
            "{said:?}"
        );
        assert!(
            said[1].0 == "never" && said[1].1.contains("ever comes"),
            "{said:?}"
        );
        assert!(
            said[2].0 == "zone" && said[2].1.contains("Europe/Nowhere"),
            "{said:?}"
        );
        // Set right, it is looked at again.
        stage.cron("bad", "* * * * *").await;
        tick(&stage).await;
        let rows = stage.superuser.query(problems, &[]).await.unwrap();
        assert_eq!(rows.len(), 2);
        let next = "select next_fire > now() from rolegate.list_crons() where name = 'bad'";
        assert!(
            stage
                .superuser
                .query_one(next, &[])
                .await
                .unwrap()
                .get::<_, bool>(0)
        );
    })
    .await;
}

#[tokio::test]
async fn one_job_at_a_time_if_that_is_asked() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage
            .run("select rolegate.set_cron('one', '* * * * *', 'x', only_one => true)")
            .await;
        let due = "update rolegate.job_cron set since = now() - interval '90 s', last_fire = null, \
                   next_fire = null";
        stage.run(due).await;
        assert_eq!(tick(&stage).await, 1);
        stage.run(due).await;
        assert_eq!(tick(&stage).await, 0, "the first has not ended");
        let trigger = "select rolegate.trigger_cron('one')";
        let made: Option<i64> = stage
            .superuser
            .query_one(trigger, &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(made, None);
        // A producer can't take its key.
        stage
            .producer
            .query_one("select rolegate.enqueue('x', unique_key => 'one')", &[])
            .await
            .unwrap();
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        let claimed = stage.claim(&worker, id, 1).await;
        let claims = [claimed[0].claim];
        let flags = [1_i16];
        let states: [i8; 1] = [b'c'.cast_signed()];
        worker
            .query_one(
                "select rolegate.finish_jobs($1, $2, $3, $4, $5, null, $6)",
                &[
                    &id,
                    &claims.as_slice(),
                    &[claimed[0].ordinal].as_slice(),
                    &[claimed[0].at].as_slice(),
                    &states.as_slice(),
                    &flags.as_slice(),
                ],
            )
            .await
            .unwrap();
        stage.run(due).await;
        assert_eq!(tick(&stage).await, 1, "it has ended");
    })
    .await;
}

#[tokio::test]
async fn only_operators_declare_and_only_for_roles_they_are_members_of() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let (role, client) = operator(&stage).await;
        let code = async |client: &Client, sql: &str| {
            let error = client.query_one(sql, &[]).await.unwrap_err();
            error.code().unwrap().code().to_owned()
        };
        let set = "select rolegate.set_cron('c', '@daily', 'x')";
        assert_eq!(code(&stage.producer, set).await, "42501");
        let maintenance = db.connect_as("rolegate_maintenance").await;
        assert_eq!(code(&maintenance, set).await, "42501");
        assert_eq!(
            code(&maintenance, "select * from rolegate.job_cron").await,
            "42501"
        );
        assert_eq!(
            code(
                &client,
                "select rolegate.fire_cron('c', 1, array[now()], now())"
            )
            .await,
            "42501"
        );
        let target = db.create_role("target").await;
        let as_target =
            format!("select rolegate.set_cron('c', '@daily', 'x', run_as => '{target}')");
        assert_eq!(code(&client, &as_target).await, "42501");
        stage.run(&format!("grant {target} to {role}")).await;
        client.query_one(&as_target, &[]).await.unwrap();
        let runs_as = "select runs_as from rolegate.list_crons()";
        let shown: String = client.query_one(runs_as, &[]).await.unwrap().get(0);
        assert_eq!(shown, target);
        let stranger = db.create_role_with("stranger", "login", Admitted::No).await;
        stage.run(&format!("grant {stranger} to {role}")).await;
        let as_stranger =
            format!("select rolegate.set_cron('c', '@daily', 'x', run_as => '{stranger}')");
        assert_eq!(code(&client, &as_stranger).await, "55000");
        let as_owner = "select rolegate.set_cron('c', '@daily', 'x', run_as => 'rolegate_owner')";
        assert_eq!(code(&client, as_owner).await, "42501");
        for (wrong, expected) in [
            ("select rolegate.set_cron('', '@daily', 'x')", "22023"),
            ("select rolegate.set_cron('c', '', 'x')", "22023"),
            ("select rolegate.set_cron('c', '@daily', '')", "22023"),
            (
                "select rolegate.set_cron('c', '@daily', 'x', null)",
                "22023",
            ),
            (
                "select rolegate.set_cron('c', '@daily', 'x', queue => 'nowhere')",
                "42704",
            ),
            (
                "select rolegate.set_cron('c', '@daily', 'x', missed => 'maybe')",
                "22023",
            ),
            (
                "select rolegate.set_cron('c', '@daily', 'x', only_one => null)",
                "22023",
            ),
            (
                "select rolegate.set_cron('c', '@daily', 'x', time_zone => '')",
                "22023",
            ),
        ] {
            assert_eq!(code(&client, wrong).await, expected, "{wrong}");
        }
        // A key that an operator's SQL would need to be quoted in.
        let odd = "select rolegate.set_cron('o''; drop table x; --', '@daily', 'x')";
        client.query_one(odd, &[]).await.unwrap();
        assert_eq!(tick(&stage).await, 0);
    })
    .await;
}
