//! What fails or is slow delays nobody else.

use std::time::Duration;

use rolegate_server::budget::DefaultBudget;
use rolegate_testkit::for_each_version;
use serde_json::json;

use super::stage::Stage;
use crate::harness::{Options, publish};

#[tokio::test]
async fn a_query_that_fails_is_an_error_and_deletes_nothing() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        stage
            .run(
                "create table api.number (id int primary key, n int not null);
                 insert into api.number values (1, 1); grant select on api.number to public;",
            )
            .await;
        publish(db).await;
        let mut failing = stage
            .watch(None, "select id, 10 / n as tenth from number")
            .await;
        failing.expect("snapshot").await;
        let mut other = stage.watch(None, "select id, n from number").await;
        other.expect("snapshot").await;
        let txid = stage.write("insert into api.number values (2, 0)").await;
        other.sees(txid).await;
        assert_eq!(other.column("n"), [json!(1), json!(0)]);
        let problem = failing.expect("error").await;
        assert_eq!(problem["code"], "database_error");
        assert!(failing.next().await.is_none());
        // As soon as it can be answered again it is.
        let refusal = stage
            .refusal(None, "select id, 10 / n as tenth from number")
            .await;
        assert_eq!(refusal.1, "database_error");
        stage.write("delete from api.number where n = 0").await;
        let mut again = stage
            .watch(None, "select id, 10 / n as tenth from number")
            .await;
        assert_eq!(
            again.expect("snapshot").await["rows"],
            json!([{"id": 1, "tenth": 10}])
        );
    })
    .await;
}

#[tokio::test]
async fn a_failure_that_passes_is_not_told() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let mut watcher = stage.watch(None, "select id, name from open").await;
        watcher.expect("snapshot").await;
        // The connections on which it would run are gone.
        stage
            .run("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'rolegate_anonymous' \
                  and datname = current_database()")
            .await;
        let txid = stage.write("insert into api.open values (3, 'three')").await;
        watcher.sees(txid).await;
        assert_eq!(watcher.rows.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_slow_query_delays_no_other() {
    for_each_version(async |db| {
        let options = Options {
            connections_per_login: 8,
            ..Options::default()
        };
        let stage = Stage::set_with(db, options).await;
        stage
            .run(
                "create table api.pace (id int primary key, n int not null);
                 insert into api.pace values (1, 1); grant select on api.pace to public;",
            )
            .await;
        publish(db).await;
        let slow = "select p.id, o.id as other, (select count(*) from generate_series(1, p.n)) as n \
                    from pace p, open o";
        let mut slow = stage.watch(None, slow).await;
        slow.expect("snapshot").await;
        let mut quick = stage.watch(None, "select id, name from open").await;
        quick.expect("snapshot").await;
        // Each run takes some seconds from now on.
        stage.write("update api.pace set n = 8000000").await;
        for id in 10..20 {
            let insert = format!("insert into api.open values ({id}, 'n')");
            let txid = stage.write(&insert).await;
            tokio::time::timeout(Duration::from_secs(5), quick.sees(txid))
                .await
                .expect("at once");
        }
    })
    .await;
}

/// Whoever uses up what the anonymous role may ask takes nothing from those who watch what is public.
#[tokio::test]
async fn a_flood_of_requests_does_not_stop_what_is_watched() {
    for_each_version(async |db| {
        let options = Options {
            budget: DefaultBudget {
                concurrency: 1,
                ..DefaultBudget::default()
            },
            ..Options::default()
        };
        let stage = Stage::set_with(db, options).await;
        stage
            .run("create table api.shut (id int primary key); grant select on api.shut to public;")
            .await;
        let mut watcher = stage.watch(None, "select id, name from open").await;
        watcher.expect("snapshot").await;
        let locker = db.superuser().await;
        let lock = "begin; lock table api.shut in access exclusive mode";
        locker.batch_execute(lock).await.expect("locked");
        let url = format!("http://{}/query", stage.gateway.address);
        let ask = |sql: &str| {
            let post = stage.gateway.client.post(&url);
            post.json(&json!({"sql": sql})).send()
        };
        let waits = tokio::spawn(ask("select id from shut"));
        let waiting = "select exists (select from pg_locks where not granted and relation = 'api.shut'::regclass)";
        while !locker.query_one(waiting, &[]).await.expect("a row").get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(ask("select id from open").await.expect("an answer").status(), 429);
        let txid = stage
            .write("insert into api.open values (3, 'three')")
            .await;
        tokio::time::timeout(Duration::from_secs(15), watcher.sees(txid))
            .await
            .expect("told");
        assert_eq!(ask("select id from open").await.expect("an answer").status(), 429);
        assert_eq!(watcher.rows.len(), 3);
        locker.batch_execute("commit").await.expect("unlocked");
        let answer = waits.await.expect("asked").expect("an answer");
        assert_eq!(answer.status(), 200);
    })
    .await;
}

/// Of the runs that take long one is of what anybody may watch, and one of the rest.
#[tokio::test]
async fn slow_queries_that_anybody_watches_delay_no_others() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let member = &stage.member;
        stage
            .run(&format!(
                "create table api.shut (id int primary key); create table api.own (id int primary key);
                 create table api.wake (id int primary key);
                 grant select on api.shut to public; grant select on api.own, api.wake to \"{member}\";"
            ))
            .await;
        publish(db).await;
        let mut public = Vec::new();
        for number in 0..2 {
            let sql = format!("select o.id, {number} as also from open o left join shut using (id)");
            public.push(stage.watch(None, &sql).await);
        }
        let token = stage.member_of(1);
        let sql = "select w.id from wake w left join own using (id)";
        let mut private = stage.watch(Some(&token), sql).await;
        for watcher in public.iter_mut().chain([&mut private]) {
            watcher.expect("snapshot").await;
        }
        let locker = db.superuser().await;
        let until_waiting = async |count: i64| {
            let sql = "select count(*) from pg_locks where not granted and relation in ('api.shut'::regclass, 'api.own'::regclass)";
            while locker.query_one(sql, &[]).await.expect("a row").get::<_, i64>(0) < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let lock = async |tables: &str| {
            let sql = format!("begin; lock table {tables} in access exclusive mode");
            locker.batch_execute(&sql).await.expect("locked");
        };
        let unlock = async || locker.batch_execute("commit").await.expect("unlocked");
        // One run of each takes long.
        lock("api.shut, api.own").await;
        let txid = stage
            .write("insert into api.open values (3, 'three'); insert into api.wake values (1)")
            .await;
        until_waiting(3).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        unlock().await;
        for watcher in public.iter_mut().chain([&mut private]) {
            watcher.sees(txid).await;
        }
        // And now all that are public.
        lock("api.shut").await;
        let slow = stage.write("insert into api.open values (4, 'four')").await;
        until_waiting(1).await;
        let txid = stage.write("insert into api.wake values (2)").await;
        tokio::time::timeout(Duration::from_secs(15), private.sees(txid))
            .await
            .expect("told");
        unlock().await;
        for watcher in &mut public {
            watcher.sees(slow).await;
        }
    })
    .await;
}
