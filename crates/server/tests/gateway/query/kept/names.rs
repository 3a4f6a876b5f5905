//! One name in two schemas: each answer comes from the table that PostgreSQL would take now.

use std::time::Duration;

use reqwest::StatusCode;
use rolegate_testkit::{TestDatabase, for_each_version};
use serde_json::{Value, json};

use super::super::live::stage::LONG;
use super::{Kept, header};
use crate::harness::Options;

const SECOND: &str = "
    create schema second;
    grant usage on schema second to public;
    create table second.item (id int primary key, note text);
    insert into second.item select g, 'second ' || g from generate_series(1, 3) g;
    create table second.later (id int primary key, note text);
    insert into second.later values (1, 'second');
    create function second.which() returns text language sql immutable as $$ select 'second'::text $$;
    grant select on all tables in schema second to public;
    grant execute on function second.which() to public;
";

async fn lay(db: &TestDatabase) -> Kept<'_> {
    db.superuser()
        .await
        .batch_execute(SECOND)
        .await
        .expect("made");
    let options = Options {
        schemas: vec!["api".to_owned(), "second".to_owned()],
        ..Options::default()
    };
    Kept::lay_with(db, options).await
}

/// Asks until it is answered so; what is known of the catalog is some moments old.
async fn until(kept: &Kept<'_>, sql: &str, rows: &Value) {
    let answered = async {
        while kept.rows_of(sql).await != *rows {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answered = tokio::time::timeout(LONG, answered).await;
    assert!(answered.is_ok(), "{sql} is never {rows}");
}

#[tokio::test]
async fn tables_of_one_name_are_told_apart() {
    for_each_version(async |db| {
        let kept = lay(db).await;
        let texts = [
            "select note from item where id = 1",
            "select note from api.item where id = 1",
            "select note from second.item where id = 1",
        ];
        let notes = ["note 1", "note 1", "second 1"];
        let mut places = Vec::new();
        for (sql, note) in texts.iter().zip(notes) {
            assert_eq!(kept.rows_of(sql).await, json!([{"note": note}]), "{sql}");
            places.push(kept.location(sql).await);
        }
        // Another row of it is not its own; but something in the catalog may have changed just then.
        let mut stayed = 0;
        for round in 0..5 {
            let before = kept.location(texts[2]).await;
            kept.change(&format!(
                "update second.item set note = '{round}' where id = 2"
            ))
            .await;
            stayed += usize::from(kept.location(texts[2]).await == before);
        }
        assert!(stayed >= 3, "{stayed}");
        // And the same row of the other table is not, either.
        places[2] = kept.location(texts[2]).await;
        kept.change("update second.item set note = 'new' where id = 1")
            .await;
        for (sql, place) in texts[..2].iter().zip(&places) {
            assert_eq!(kept.location(sql).await, *place, "{sql}");
        }
        assert_ne!(kept.location(texts[2]).await, places[2]);
        assert_eq!(kept.rows_of(texts[2]).await, json!([{"note": "new"}]));
        kept.change("update api.item set note = 'newer' where id = 1")
            .await;
        for sql in &texts[..2] {
            assert_eq!(kept.rows_of(sql).await, json!([{"note": "newer"}]), "{sql}");
        }
        assert_eq!(kept.rows_of(texts[2]).await, json!([{"note": "new"}]));

        // One of them is closed: the other one's answers stay everybody's.
        kept.run("alter table second.item enable row level security")
            .await;
        let closed = async {
            while kept.ask(texts[2]).await.status() != StatusCode::UNAUTHORIZED {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LONG, closed).await.expect("closed");
        for sql in &texts[..2] {
            assert_eq!(kept.rows_of(sql).await, json!([{"note": "newer"}]), "{sql}");
        }
        let both = "select i.note from item i join second.item s on s.id = i.id";
        assert_eq!(kept.ask(both).await.status(), StatusCode::UNAUTHORIZED);
    })
    .await;
}

/// Something of the name comes in front of what was found before, and goes again: also on connections that have the
/// statement prepared. What was found before has not changed itself.
#[tokio::test]
async fn what_comes_first_in_the_search_path_counts_at_once() {
    for_each_version(async |db| {
        let kept = lay(db).await;
        let token = kept.setting.token.as_str();
        // For everybody, and for one.
        let texts = [
            "select note from later where id = 1",
            "select which() as note from open where id = 1",
            "select note from later, closed where later.id = 1",
        ];
        let ask = async |sql: &str| -> Value {
            let post = kept.post(&json!({"sql": sql})).bearer_auth(token);
            let answer = post.header("prefer", "return=representation").send().await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::OK, "{sql}");
            answer.json().await.expect("JSON")
        };
        let until = async |sql: &str, rows: &Value| {
            let answered = async {
                while ask(sql).await != *rows {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let answered = tokio::time::timeout(LONG, answered).await;
            assert!(answered.is_ok(), "{sql} is never {rows}");
        };
        let mut live = kept.watch("select note from later where id = 1").await;
        live.expect("snapshot").await;
        let (first, second) = (json!([{"note": "first"}]), json!([{"note": "second"}]));
        for sql in texts {
            // It is prepared from the second time on.
            for number in 0..4 {
                assert_eq!(ask(sql).await, second, "{sql}");
                kept.change(&format!(
                    "update second.later set note = 'second' where id = 1;
                     update api.open set name = 'name {number}' where id = 1"
                ))
                .await;
            }
        }
        kept.run(
            "create table api.later (id int primary key, note text);
             insert into api.later values (1, 'first');
             grant select on api.later to public;
             create function api.which() returns text language sql immutable as $$ select 'first'::text $$;
             grant execute on function api.which() to public",
        )
        .await;
        for sql in texts {
            until(sql, &first).await;
            for _ in 0..4 {
                kept.change("update api.open set name = 'b' where id = 1").await;
                assert_eq!(ask(sql).await, first, "{sql}");
            }
        }
        // Changes of the new one are not told: nobody goes on watching it.
        live.ends("query_refused").await;
        kept.run("drop table api.later; drop function api.which()").await;
        for sql in texts {
            until(sql, &second).await;
        }
    })
    .await;
}

/// Where names are looked for is said by the configuration: a role's own path changes nothing, and not what is kept
/// for everybody.
#[tokio::test]
async fn a_roles_own_search_path_does_not_count() {
    for_each_version(async |db| {
        let kept = lay(db).await;
        let sql = "select note from item where id = 1";
        let token = &kept.setting.token;
        let private =
            json!({"sql": "select current_user is null as a, note from item where id = 1"});
        assert_eq!(kept.rows_of(sql).await, json!([{"note": "note 1"}]));
        let set = "alter role %1$s in database %2$s set search_path = pg_temp, second, api";
        for role in ["rolegate_anonymous", kept.setting.member.as_str()] {
            let set = set.replace("%1$s", &format!("\"{role}\""));
            kept.run(&set.replace("%2$s", db.name())).await;
            // So that it is in force.
            kept.run(&format!(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where usename = '{role}' and datname = current_database()"
            ))
            .await;
        }
        kept.run("update api.item set note = 'new' where id = 1")
            .await;
        until(&kept, sql, &json!([{"note": "new"}])).await;
        // Within that time the gateway knows of it.
        for _ in 0..30 {
            let asked = kept.post(&private).bearer_auth(token).send().await;
            let answer = asked.expect("an answer");
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(header(&answer, "rolegate-scope"), "private");
            let rows: Value = answer.json().await.expect("JSON");
            assert_eq!(rows, json!([{"a": false, "note": "new"}]));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
