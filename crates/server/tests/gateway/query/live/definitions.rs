//! Tables that are emptied, and definitions that change, while somebody watches.

use rolegate_testkit::for_each_version;
use serde_json::json;

use super::stage::Stage;
use crate::harness::publish;

#[tokio::test]
async fn a_table_that_is_emptied_is_empty() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        stage
            .run("create table api.child (id int primary key, of int references api.open on delete cascade);
                  insert into api.child values (1, 1); grant select on api.child to public;
                  create table api.split (id int, part int, primary key (id, part)) partition by list (part);
                  create table api.split_1 partition of api.split for values in (1);
                  create table api.split_2 partition of api.split for values in (2);
                  insert into api.split values (1, 1), (1, 2); grant select on api.split to public")
            .await;
        publish(db).await;
        let narrow = "select id, name from open where id = 1";
        let joined = "select c.id, o.name from child c left join open o on o.id = c.of";
        let split = "select id, part from split";
        let mut narrow = stage.watch(None, narrow).await;
        let mut joined = stage.watch(None, joined).await;
        let mut split = stage.watch(None, split).await;
        for watcher in [&mut narrow, &mut joined, &mut split] {
            watcher.expect("snapshot").await;
        }
        let txid = stage.write("truncate api.open cascade").await;
        narrow.sees(txid).await;
        joined.sees(txid).await;
        assert_eq!((narrow.rows.len(), joined.rows.len()), (0, 0));
        // One part of a table, by its own name.
        let txid = stage.write("truncate api.split_2").await;
        split.sees(txid).await;
        assert_eq!(split.column("part"), [json!(1)]);
        let txid = stage.write("truncate api.split").await;
        split.sees(txid).await;
        assert_eq!(split.rows, []);
        // And what comes back, comes back.
        let txid = stage.write("insert into api.open values (1, 'again')").await;
        narrow.sees(txid).await;
        assert_eq!(narrow.column("name"), [json!("again")]);
        assert_eq!(narrow.resets, Vec::<String>::new());
    })
    .await;
}

/// Nobody tells that it was made anew: nothing that reads one is watched, directly or through a view.
#[tokio::test]
async fn what_is_made_now_and_then_is_not_watched() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        stage
            .run("create materialized view api.frozen as select count(*) as n from api.open;
                  create unique index on api.frozen (n);
                  create view api.shown as select n from api.frozen;
                  grant select on api.frozen, api.shown to public")
            .await;
        publish(db).await;
        for sql in ["select n from frozen", "select n from shown", "select o.id, f.n from open o, frozen f"] {
            assert_eq!(stage.refusal(None, sql).await, (422, "query_refused".to_owned()), "{sql}");
        }
        // One that begins to read one ends.
        stage.run("create view api.counted as select count(*) as n from api.open; grant select on api.counted to public").await;
        let mut watcher = stage.watch(None, "select n from counted").await;
        watcher.expect("snapshot").await;
        stage.run("create or replace view api.counted as select n from api.frozen").await;
        watcher.ends("query_refused").await;
    })
    .await;
}

/// What a view means, what a column is, who may see which rows: the rows are those of the new definition.
#[tokio::test]
async fn rows_are_those_of_the_definitions_of_now() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        stage
            .run("create view api.named as select id, name from api.open; grant select on api.named to public;
                  create table api.hidden (id int primary key, name text); insert into api.hidden values (9, 'nine')")
            .await;
        publish(db).await;
        let mut view = stage.watch(None, "select id, name from named").await;
        view.expect("snapshot").await;
        stage.run("create or replace view api.named as select id, upper(name) as name from api.open").await;
        while view.column("name") != [json!("ONE"), json!("TWO")] {
            view.next().await.expect("an event");
        }
        // From another table, whose changes count from now on.
        stage.run("create or replace view api.named as select id, name from api.hidden").await;
        while view.column("name") != [json!("nine")] {
            view.next().await.expect("an event");
        }
        let txid = stage.write("update api.hidden set name = 'ten' where id = 9").await;
        view.sees(txid).await;
        assert_eq!(view.column("name"), [json!("ten")]);

        // A table that takes another one's place under its name.
        let mut open = stage.watch(None, "select id, name from open").await;
        open.expect("snapshot").await;
        stage
            .run("begin; alter table api.open rename to old;
                  create table api.open (id int primary key, name text not null);
                  insert into api.open values (5, 'five'); grant select on api.open to public; commit")
            .await;
        publish(db).await;
        // The name is of something that nobody told of yet: the stream ends, or goes on with the new rows.
        let mut told = Vec::new();
        while open.column("id") != [json!(5)] {
            let Some(event) = open.next().await else { break };
            told.push(event.name.clone());
        }
        let again = async {
            loop {
                let answer = stage.ask(None, &json!({"sql": "select id, name from open"}), None).await;
                if answer.status() == 200 {
                    return super::stage::Watcher::new(answer);
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let mut again = tokio::time::timeout(super::stage::LONG, again).await.expect("watched");
        again.expect("snapshot").await;
        assert_eq!(again.column("id"), [json!(5)], "{told:?}");
        let txid = stage.write("insert into api.open values (6, 'six')").await;
        again.sees(txid).await;
        assert_eq!(again.column("id"), [json!(5), json!(6)]);

        // A policy takes rows away, and gives them back; other members are not asked.
        let token = stage.member_of(1);
        let mut docs = stage.watch(Some(&token), "select id, title from docs").await;
        docs.expect("snapshot").await;
        assert_eq!(docs.column("id"), [json!(1)]);
        let member = &stage.member;
        for (change, ids) in [
            (format!("create policy none on api.docs as restrictive for select to \"{member}\" using (false)"), json!([])),
            ("drop policy none on api.docs".to_owned(), json!([1])),
            (format!("create policy more on api.docs for select to \"{member}\" using (true)"), json!([1, 2])),
            ("drop policy more on api.docs".to_owned(), json!([1])),
        ] {
            stage.run(&change).await;
            while json!(docs.column("id")) != ids {
                let event = docs.next().await.expect("an event");
                assert_ne!(event.name, "error", "{change}: {event:?}");
            }
        }
    })
    .await;
}
