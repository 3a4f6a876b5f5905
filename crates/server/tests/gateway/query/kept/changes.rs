//! What gives a query another address, and what does not.

use std::time::Duration;

use reqwest::StatusCode;
use rolegate_testkit::for_each_version;
use serde_json::{Value, json};

use super::{Kept, header};
use crate::harness::publish;

#[tokio::test]
async fn a_commit_gives_a_new_address_to_what_it_touches() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let one = "select note from item where id = 7";
        let other = "select note from item where id = 8";
        let all = "select count(*) as n from item";
        let view = "select note from items where id = 7";
        let twice = "select a.note from item a where a.id = 7 and exists (select from item b where b.id = 8)";
        let first = [one, other, all, view, twice];
        let mut places = Vec::new();
        for sql in first {
            places.push(kept.location(sql).await);
        }
        assert_eq!(kept.rows_of(one).await, json!([{"note": "note 7"}]));
        kept.change("update api.item set note = 'new' where id = 8").await;
        let mut after = Vec::new();
        for sql in first {
            after.push(kept.location(sql).await);
        }
        assert_ne!(after[1], places[1]);
        assert_eq!(kept.rows_of(other).await, json!([{"note": "new"}]));
        // The same bytes, and another version: something was written in between.
        for same in [2, 3, 4] {
            assert_ne!(after[same], places[same], "{}", first[same]);
        }
        // The old address keeps the old bytes, unless something in the catalog has changed just then.
        let mut keeps = false;
        for round in 0..10 {
            let before = kept.location(other).await;
            let Some(old) = kept.rows_if_kept(&before).await else {
                continue;
            };
            kept.change(&format!("update api.item set note = '{round}' where id = 8")).await;
            if let Some(rows) = kept.rows_if_kept(&before).await {
                assert_eq!(rows, old);
                keeps = true;
                break;
            }
        }
        assert!(keeps);

        for change in [
            "insert into api.item values (100)",
            "delete from api.item where id = 100",
            "update api.item set id = 100 where id = 8",
            "truncate api.item",
        ] {
            let before = (kept.location(one).await, kept.location(other).await, kept.location(all).await);
            kept.change(change).await;
            let rows = kept.rows_of(all).await;
            let owner = db.superuser().await;
            let row = owner.query_one("select count(*) from api.item", &[]).await.expect("a row");
            assert_eq!(rows, json!([{"n": row.get::<_, i64>(0)}]), "{change}");
            assert_ne!(kept.location(all).await, before.2, "{change}");
            let empties = change.starts_with("truncate");
            if empties || change.contains("id = 8") {
                assert_ne!(kept.location(other).await, before.1, "{change}");
            }
            if empties {
                assert_ne!(kept.location(one).await, before.0, "{change}");
            }
        }
        // Another row does not count; but something in the catalog may have changed just then.
        kept.change("insert into api.item select g from generate_series(1, 9) g").await;
        let mut stayed = 0;
        for round in 0..5 {
            let before = kept.location(one).await;
            kept.change(&format!("update api.item set note = '{round}' where id = 9")).await;
            stayed += usize::from(kept.location(one).await == before);
        }
        assert!(stayed >= 3, "{stayed}");
    })
    .await;
}

/// Values that are written in another way than the stream writes them, and keys that tell only a part.
#[tokio::test]
async fn a_row_is_found_however_it_is_asked_for() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        kept.run(
            "create table api.keys (id uuid primary key, note text);
             insert into api.keys values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a');
             create table api.days (d date primary key, note text);
             insert into api.days values ('2026-01-02', 'a');
             create table api.flags (f boolean, n int, note text, primary key (n, f));
             insert into api.flags values (true, 1, 'a'), (false, 1, 'b');
             create table api.wide (c char(5) primary key, n numeric unique, note text);
             insert into api.wide values ('a', 1.50, 'a');
             grant select on all tables in schema api to public; revoke select on api.closed from public;",
        )
        .await;
        let owner = db.superuser().await;
        let loose = "create collation api.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
        if owner.batch_execute(loose).await.is_err() {
            // A build without it: nothing is equal that is written otherwise.
            kept.run("create collation api.loose from \"C\"").await;
        }
        kept.run(
            "create table api.words (w text collate api.loose primary key, note text);
             insert into api.words values ('Abc', 'a'), ('ABC', 'a') on conflict do nothing;
             grant select on api.words to public;",
        )
        .await;
        publish(db).await;
        let one = |sql: &str| json!({"sql": sql});
        let with = |sql: &str, param: Value| json!({"sql": sql, "params": [param]});
        for (body, change) in [
            (one("select note from item where id = 007"), "update api.item set note = 'b' where id = 7"),
            (one("select note from item where id = 7.0"), "update api.item set note = 'c' where id = 7"),
            (one("select note from item where id = '7'"), "update api.item set note = 'd' where id = 7"),
            (with("select note from item where id = $1", json!(" 7 ")), "update api.item set note = 'e' where id = 7"),
            (with("select note from item where id = $1", json!(7)), "update api.item set note = 'f' where id = 7"),
            (one("select note from item where tag = 'a' and id = 7"), "update api.item set tag = 'b' where id = 7"),
            (one("select count(*) as n from item where tag = 'a'"), "update api.item set tag = 'b' where id = 9"),
            (one("select note from keys where id = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"), "update api.keys set note = 'b'"),
            (one("select note from keys where id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"), "update api.keys set note = 'c'"),
            (one("select note from days where d = '2026-1-2'"), "update api.days set note = 'b'"),
            (one("select note from days where d = '2026-01-02'"), "update api.days set note = 'c'"),
            (one("select note from days where d = 'Jan 2 2026'"), "update api.days set note = 'd'"),
            (one("select note from flags where f = true and n = 1"), "update api.flags set note = 'b' where f"),
            (one("select note from flags where n = 1 and f = 'yes'"), "update api.flags set note = 'c' where f"),
            (one("select note from flags where n = 1"), "update api.flags set note = 'd' where not f"),
            (one("select note from words where w = 'ABC'"), "update api.words set note = 'b'"),
            (one("select note from wide where c = 'a'"), "update api.wide set note = 'b'"),
            (one("select note from wide where c = 'a '"), "update api.wide set note = 'c'"),
            (one("select note from wide where n = 1.5"), "update api.wide set note = 'd'"),
            (one("select tag from full_row where tag = 'x'"), "update api.full_row set tag = 'z' where id = 1"),
            (one("select tag from full_row where tag = 'w'"), "update api.full_row set tag = 'w' where id = 2"),
            (one("select part from split where id = 1"), "insert into api.split values (1, 1) on conflict do nothing; delete from api.split"),
        ] {
            let ask = async || {
                let answer = kept.post(&body).header("prefer", "return=representation").send().await.expect("an answer");
                assert_eq!(answer.status(), StatusCode::OK, "{body}");
                (header(&answer, "content-location"), answer.text().await.expect("text"))
            };
            let before = ask().await;
            assert_eq!(ask().await, before, "{body}");
            kept.change(change).await;
            let after = ask().await;
            assert_ne!(after.0, before.0, "{body}: {change}");
            assert_ne!(after.1, before.1, "{body}: {change}");
        }
    })
    .await;
}

#[tokio::test]
async fn definitions_and_rights_change_what_is_kept() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let sql = "select * from item where id = 7";
        let first = kept.location(sql).await;
        kept.change("alter table api.item add column more int default 5").await;
        let second = kept.location(sql).await;
        assert_eq!(kept.rows(&second).await[0]["more"], 5);
        assert_ne!(first, second);
        kept.change("alter table api.item drop column more").await;
        assert!(kept.rows_of(sql).await[0].get("more").is_none());

        // A view that means something else.
        let view = "select note from items where id = 7";
        let before = kept.location(view).await;
        kept.change("create or replace view api.items as select id, 'x'::text as note from api.item").await;
        assert_ne!(kept.location(view).await, before);
        assert_eq!(kept.rows_of(view).await, json!([{"note": "x"}]));

        // A function that means something else.
        let call = "select plain(1) as a from item where id = 7";
        let before = kept.location(call).await;
        assert_eq!(kept.rows(&before).await, json!([{"a": 2}]));
        kept.change("create or replace function api.plain(a int) returns int language sql immutable as 'select a + 2'").await;
        assert_eq!(kept.rows_of(call).await, json!([{"a": 3}]));

        // Not for everybody any more: not even at the old address, within a second.
        let last = kept.location(sql).await;
        for (close, open) in [
            ("revoke select on api.item from public", "grant select on api.item to public"),
            ("alter table api.item enable row level security", "alter table api.item disable row level security"),
            ("revoke usage on schema api from public", "grant usage on schema api to public"),
        ] {
            let open_place = kept.location(sql).await;
            kept.run(close).await;
            tokio::time::sleep(Duration::from_millis(900)).await;
            assert_eq!(kept.ask(sql).await.status(), StatusCode::UNAUTHORIZED, "{close}");
            for place in [&last, &open_place] {
                let gone = kept.get(place).await;
                assert_eq!(gone.status(), StatusCode::GONE, "{close}");
                assert_eq!(header(&gone, "location"), "");
                assert_eq!(header(&gone, "cache-control"), "no-store");
            }
            kept.run(open).await;
            tokio::time::sleep(Duration::from_millis(900)).await;
            assert_eq!(kept.ask(sql).await.status(), StatusCode::SEE_OTHER, "{open}");
        }
    })
    .await;
}

/// What other sessions have for themselves is no change of the catalog.
#[tokio::test]
async fn temporary_tables_drop_nothing() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let sql = "select note from item where id = 7";
        let other = db.superuser().await;
        // Other tests make roles, which is a change.
        for _ in 0..10 {
            let answer = kept.ask(sql).await;
            if answer.status() != StatusCode::SEE_OTHER {
                continue;
            }
            let before = header(&answer, "location");
            other
                .batch_execute(
                    "create temp table t (a int); create temp view v as select * from t;
                     create function pg_temp.f() returns int language sql as 'select 1'",
                )
                .await
                .expect("made");
            tokio::time::sleep(Duration::from_millis(1200)).await;
            let kept_there = kept.rows_if_kept(&before).await.is_some();
            other.batch_execute("discard temp").await.expect("dropped");
            tokio::time::sleep(Duration::from_millis(1200)).await;
            if kept_there && kept.rows_if_kept(&before).await.is_some() {
                return;
            }
        }
        panic!("it is never kept");
    })
    .await;
}
