//! What fails or is slow delays nobody else.

use std::time::Duration;

use rolegate_testkit::for_each_version;
use serde_json::json;

use super::stage::Stage;
use crate::harness::Options;
use crate::harness::publish;

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
