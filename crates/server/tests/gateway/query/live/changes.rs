//! What becomes different, and how it is told.

use std::time::Duration;

use rolegate_testkit::for_each_version;
use serde_json::json;

use super::stage::{Stage, Watcher};
use crate::harness::publish;

#[tokio::test]
async fn what_is_written_arrives_with_its_transaction() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let mut watcher = stage.watch(None, "select id, name from open").await;
        let snapshot = watcher.expect("snapshot").await;
        assert_eq!(snapshot["type"], "snapshot");
        assert_eq!(snapshot["columns"], json!(["id", "name"]));
        assert_eq!(snapshot["key"], json!(["id"]));
        assert_eq!(snapshot["ordered"], false);
        assert_eq!(
            snapshot["rows"],
            json!([{"id": 1, "name": "one"}, {"id": 2, "name": "two"}])
        );
        let txid = stage
            .write(
                "insert into api.open values (3, 'three'); update api.open set name = 'a\nb' where id = 1; \
                 delete from api.open where id = 2",
            )
            .await;
        let delete = watcher.expect("change").await;
        assert_eq!(
            delete,
            json!({"op": "delete", "key": "2", "row": {"id": 2, "name": "two"}, "txid": txid})
        );
        watcher.sees(txid).await;
        assert_eq!(watcher.by_id(), stage.rows("select id, name from api.open").await);

        // Nothing is different, and whoever waits for his transaction hears of it.
        let txid = stage.write("update api.open set name = name").await;
        let commit = watcher.expect("commit").await;
        assert_eq!(commit["txid"], txid);
        assert_eq!(commit["op"], "up-to-date");

        let txid = stage.write("truncate api.open").await;
        watcher.sees(txid).await;
        assert_eq!(watcher.rows, []);
    })
    .await;
}

#[tokio::test]
async fn the_order_is_kept() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let sql = "select id, name from open order by name desc limit 3";
        let mut watcher = stage.watch(None, sql).await;
        assert_eq!(watcher.expect("snapshot").await["ordered"], true);
        assert_eq!(watcher.column("id"), [json!(2), json!(1)]);
        for (write, ids) in [
            ("insert into api.open values (3, 'three')", vec![2, 3, 1]),
            // It moves to the front, and is otherwise the same to the others.
            ("update api.open set name = 'zz' where id = 1", vec![1, 2, 3]),
            // One falls out at the end.
            ("insert into api.open values (4, 'u')", vec![1, 4, 2]),
            ("delete from api.open where id = 4", vec![1, 2, 3]),
            (
                "update api.open set name = case id when 1 then 'two' when 2 then 'zz' else name end",
                vec![2, 1, 3],
            ),
        ] {
            let txid = stage.write(write).await;
            watcher.sees(txid).await;
            let ids: Vec<_> = ids.into_iter().map(|id| json!(id)).collect();
            assert_eq!(watcher.column("id"), ids, "{write}");
        }
    })
    .await;
}

#[tokio::test]
async fn rows_without_a_key_are_counted() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let mut watcher = stage
            .watch(None, "select upper(name) as name from open")
            .await;
        assert_eq!(watcher.expect("snapshot").await["key"], json!(null));
        for (write, names) in [
            (
                "insert into api.open values (3, 'one'), (4, 'one')",
                vec!["ONE", "ONE", "ONE", "TWO"],
            ),
            (
                "delete from api.open where id = 1",
                vec!["ONE", "ONE", "TWO"],
            ),
            (
                "update api.open set name = 'two' where id = 3",
                vec!["ONE", "TWO", "TWO"],
            ),
        ] {
            let txid = stage.write(write).await;
            watcher.sees(txid).await;
            let mut told: Vec<_> = watcher.column("name");
            told.sort_by_key(ToString::to_string);
            assert_eq!(json!(told), json!(names), "{write}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_that_tells_rows_not_apart_is_given_up() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let sql = "select id, n from open, generate_series(1, id) n where id < 2 or name = 'many'";
        let mut watcher = stage.watch(None, sql).await;
        assert_eq!(watcher.expect("snapshot").await["key"], json!(["id"]));
        stage
            .write("update api.open set name = 'many' where id = 2")
            .await;
        assert_eq!(watcher.expect("reset").await["reason"], "keys");
        let snapshot = watcher.expect("snapshot").await;
        assert_eq!(snapshot["key"], json!(null));
        assert_eq!(snapshot["rows"].as_array().expect("rows").len(), 3);
    })
    .await;
}

#[tokio::test]
async fn what_is_committed_while_streams_open_is_not_lost() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let writer = db.superuser().await;
        let writing = tokio::spawn(async move {
            for id in 10..160 {
                let sql = format!("insert into api.open values ({id}, 'n{id}')");
                writer.batch_execute(&sql).await.expect("written");
            }
        });
        let mut watchers = Vec::new();
        while !writing.is_finished() {
            // Each is a group of its own.
            let sql = format!(
                "select id, name from open where id > -{}",
                watchers.len() + 1
            );
            watchers.push(stage.watch(None, &sql).await);
            if watchers.len() == 40 {
                break;
            }
        }
        writing.await.expect("written");
        let txid = stage
            .write("update api.open set name = 'last' where id = 1")
            .await;
        let rows = stage.rows("select id, name from api.open").await;
        for watcher in &mut watchers {
            watcher.expect("snapshot").await;
            watcher.sees(txid).await;
            assert_eq!(watcher.by_id(), rows);
            assert_eq!(watcher.resets, Vec::<String>::new());
        }
    })
    .await;
}

#[tokio::test]
async fn who_comes_back_goes_on() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let sql = "select id, name from open";
        let mut watcher = stage.watch(None, sql).await;
        watcher.expect("snapshot").await;
        let first = watcher.last.clone().expect("a cursor");
        let txid = stage
            .write("insert into api.open values (3, 'three')")
            .await;
        watcher.sees(txid).await;
        let second = watcher.last.clone().expect("a cursor");
        drop(watcher);
        // Nobody watches, and what happens is kept.
        let missed = stage.write("delete from api.open where id = 1").await;
        let mut back = stage.watch_from(None, sql, Some(&second)).await;
        let change = back.expect("change").await;
        assert_eq!(
            (&change["op"], &change["key"]),
            (&json!("delete"), &json!("1"))
        );
        assert_eq!(back.expect("commit").await["txid"], missed);
        let mut earlier = stage.watch_from(None, sql, Some(&first)).await;
        assert_eq!(earlier.expect("change").await["key"], "3");
        // A cursor of another query, or of no query.
        for last in [first.as_str(), "nonsense", "00000000000000ff-1"] {
            let mut other = stage
                .watch_from(None, "select name from open", Some(last))
                .await;
            assert_eq!(other.expect("reset").await["reason"], "history", "{last}");
            other.expect("snapshot").await;
        }
    })
    .await;
}

#[tokio::test]
async fn browsers_watch_with_get() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let url = format!("http://{}/query", stage.gateway.address);
        let sql = "select name from open where id = $1";
        let get = |live: &str| {
            let sql = sql.replace(' ', "+");
            let url = format!("{url}?sql={sql}&params=[2]&live={live}");
            stage.gateway.client.get(url).send()
        };
        let mut answer = get("true").await.expect("an answer");
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["x-accel-buffering"], "no");
        assert_eq!(answer.headers()["rolegate-scope"], "public");
        let chunk = answer.chunk().await.expect("a chunk").expect("a chunk");
        let text = String::from_utf8_lossy(&chunk);
        assert!(text.contains("\"rows\":[{\"name\":\"two\"}]"), "{text}");
        assert_eq!(get("perhaps").await.expect("an answer").status(), 400);
        let plain = get("false").await.expect("an answer");
        assert_eq!(plain.text().await.expect("a body"), "[{\"name\":\"two\"}]");
    })
    .await;
}

#[tokio::test]
async fn what_does_not_concern_a_query_does_not_wake_it() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        stage
            .run("create table api.other (id int primary key)")
            .await;
        publish(db).await;
        let mut watcher = stage.watch(None, "select id, name from open").await;
        watcher.expect("snapshot").await;
        let other = stage
            .write("insert into api.other select generate_series(1, 5000)")
            .await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let own = stage
            .write("insert into api.open values (3, 'three')")
            .await;
        watcher.sees(own).await;
        assert!(!watcher.txids.contains(&other), "{:?}", watcher.txids);
    })
    .await;
}

#[tokio::test]
async fn rows_of_every_partition_count() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        stage
            .run(
                "create table api.parted (id int, part int, primary key (id, part)) partition by list (part);
                 create table api.parted_1 partition of api.parted for values in (1);
                 create table api.parted_2 partition of api.parted for values in (2);
                 grant select on api.parted to public;",
            )
            .await;
        publish(db).await;
        // What is planned without a value needs no partition at all.
        let body = json!({"sql": "select id, part from parted where part = $1", "params": [2]});
        let mut watcher = Watcher::new(stage.ask(None, &body, None).await);
        assert_eq!(watcher.expect("snapshot").await["rows"], json!([]));
        let txid = stage.write("insert into api.parted values (1, 2)").await;
        watcher.sees(txid).await;
        assert_eq!(watcher.rows.len(), 1);
        // One that comes later.
        let mut all = stage.watch(None, "select id, part from parted").await;
        assert_eq!(all.expect("snapshot").await["key"], json!(["id", "part"]));
        stage.run("create table api.parted_3 partition of api.parted for values in (3)").await;
        all.ends("query_refused").await;
        publish(db).await;
        // What is known of a query is known for a moment.
        let body = json!({"sql": "select id, part from parted"});
        let mut all = loop {
            let answer = stage.ask(None, &body, None).await;
            if answer.status() == 200 {
                break Watcher::new(answer);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        all.expect("snapshot").await;
        let txid = stage.write("insert into api.parted values (2, 3)").await;
        all.sees(txid).await;
        assert_eq!(all.rows.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_emptied_table_has_no_groups() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        stage
            .run("create table api.t1 (id int primary key, a int); alter table api.t1 replica identity full;
                 insert into api.t1 select g, g % 3 from generate_series(1, 8) g; grant select on api.t1 to public")
            .await;
        crate::harness::publish(db).await;
        let mut watcher = stage.watch(None, "select a, count(*) as n from t1 group by a").await;
        watcher.expect("snapshot").await;
        for round in 0..5 {
            let txid = stage.write("update api.t1 set a = a where id = 4").await;
            watcher.sees(txid).await;
            let txid = stage.write("truncate api.t1").await;
            watcher.sees(txid).await;
            assert_eq!(watcher.rows, [], "{round}");
            let txid = stage.write("insert into api.t1 select g, g % 3 from generate_series(1, 8) g").await;
            watcher.sees(txid).await;
            assert_eq!(watcher.rows.len(), 3);
        }
    })
    .await;
}
