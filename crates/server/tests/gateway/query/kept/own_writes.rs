//! Who has written reads what he wrote, and nobody gets another one's row.

use rolegate_testkit::for_each_version;
use serde_json::{Value, json};

use super::{Kept, header};
use crate::harness::publish;

/// A call says in which transaction it has written.
#[tokio::test]
async fn a_call_says_what_to_read_after_it() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let body = json!({"sql": "select note from item where id = 6"});
        let token = &kept.setting.token;
        for number in 0..20 {
            let note = format!("by call {number}");
            let arguments = json!({"of_item": 6, "words": note}).to_string();
            let called = kept
                .setting
                .gateway
                .post("/renote", Some(token), &arguments)
                .send()
                .await;
            let called = called.expect("an answer");
            assert!(called.status().is_success(), "{}", called.status());
            let txid = header(&called, "rolegate-txid");
            let asked = kept.post(&body).header("rolegate-txid", txid);
            let answer = asked.header("prefer", "return=representation").send().await;
            let text = answer.expect("an answer").text().await.expect("text");
            assert_eq!(text, format!("[{{\"note\":\"{note}\"}}]"));
        }
        let read = kept
            .setting
            .gateway
            .post("/reads", Some(token), "{}")
            .send()
            .await;
        assert_eq!(header(&read.expect("an answer"), "rolegate-txid"), "");
        let dry =
            kept.setting
                .gateway
                .post("/renote", Some(token), r#"{"of_item": 6, "words": "x"}"#);
        let dry = dry
            .header("prefer", "tx=rollback")
            .send()
            .await
            .expect("an answer");
        assert!(dry.status().is_success());
        assert_eq!(header(&dry, "rolegate-txid"), "");
    })
    .await;
}

/// A write is seen by who says that he has made it, whatever is kept.
#[tokio::test]
async fn who_wrote_reads_what_he_wrote() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let owner = db.superuser().await;
        let body = json!({"sql": "select note from item where id = 5"});
        for number in 0..30 {
            let note = format!("written {number}");
            let (name, value) = if number % 2 == 0 {
                let sql = "with w as (update api.item set note = $1 where id = 5 returning 1) \
                           select pg_current_xact_id()::text from w";
                let row = owner.query_one(sql, &[&note]).await.expect("written");
                ("rolegate-txid", row.get::<_, String>(0))
            } else {
                owner
                    .execute("update api.item set note = $1 where id = 5", &[&note])
                    .await
                    .expect("written");
                let row = owner
                    .query_one("select pg_current_wal_insert_lsn()::text", &[])
                    .await;
                ("rolegate-min-lsn", row.expect("a position").get(0))
            };
            let asked = kept
                .post(&body)
                .header(name, value)
                .header("prefer", "return=representation");
            let answer = asked.send().await.expect("an answer");
            let rows: Value =
                serde_json::from_str(&answer.text().await.expect("text")).expect("JSON");
            assert_eq!(rows, json!([{"note": note}]), "{name}");
        }
        for (name, value, code) in [
            ("rolegate-min-lsn", "x", 400),
            ("rolegate-txid", "-1", 400),
            ("rolegate-min-lsn", "FFFFFFFF/0", 400),
            ("rolegate-txid", "18446744073709551615", 400),
        ] {
            let answer = kept
                .post(&body)
                .header(name, value)
                .send()
                .await
                .expect("an answer");
            assert_eq!(answer.status().as_u16(), code, "{name}: {value}");
        }
    })
    .await;
}

/// Eight clients, each with its own row, while rows change: nobody gets another one's, or one that is older than
/// what it has seen.
#[tokio::test]
async fn everybody_gets_the_row_he_asks_for() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        kept.run("create table api.counted (id int primary key, n int not null); grant select on api.counted to public;
                  insert into api.counted select g, 0 from generate_series(1, 8) g").await;
        publish(db).await;
        let writer = db.superuser().await;
        let write = async {
            for n in 1..=200 {
                writer.execute("update api.counted set n = $1 where id = $2", &[&n, &(n % 8 + 1)]).await.expect("written");
            }
        };
        let readers = (1..=8).map(|id| {
            let kept = &kept;
            async move {
                let body = json!({"sql": "select id, n from counted where id = $1", "params": [id]});
                let mut last = 0;
                let mut bodies = std::collections::HashMap::new();
                for _ in 0..60 {
                    let answer = kept.post(&body).header("prefer", "return=representation").send().await.expect("an answer");
                    let place = header(&answer, "content-location");
                    let text = answer.text().await.expect("text");
                    let rows: Value = serde_json::from_str(&text).expect("JSON");
                    assert_eq!(rows[0]["id"], id);
                    let n = rows[0]["n"].as_i64().expect("a number");
                    assert!(n >= last, "{n} after {last}");
                    last = n;
                    if !place.is_empty() {
                        assert_eq!(bodies.entry(place).or_insert_with(|| text.clone()), &text);
                    }
                }
            }
        });
        tokio::join!(write, futures_util::future::join_all(readers));
        for id in 1..=8 {
            kept.change("insert into api.item (id) select max(id) + 1 from api.item").await;
            let body = json!({"sql": "select id, n from counted where id = $1", "params": [id]});
            let answer = kept.post(&body).header("prefer", "return=representation").send().await.expect("an answer");
            let rows: Value = serde_json::from_str(&answer.text().await.expect("text")).expect("JSON");
            let row = writer.query_one("select n from api.counted where id = $1", &[&id]).await.expect("a row");
            assert_eq!(rows, json!([{"id": id, "n": row.get::<_, i32>(0)}]));
        }
    })
    .await;
}
