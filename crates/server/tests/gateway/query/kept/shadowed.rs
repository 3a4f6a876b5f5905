//! Names of common tables that are those of tables: what is read is what PostgreSQL reads.

use reqwest::StatusCode;
use rolegate_testkit::for_each_version;
use serde_json::{Value, json};

use super::{Kept, header};

/// None of them reads what its first words make one think.
const PRIVATE: &[&str] = &[
    "with closed as (select 1) select s.* from api.closed s",
    "with closed as (select 1 as id) select s.secret from api.closed s, closed",
    "with recursive closed(n) as (select 1 union all select n + 1 from closed where n < 3) select c.secret from api.closed c",
    "select x.secret from (with closed as (select 1) select c.secret from api.closed c) x",
    "with a as (with closed as (select 1) select c.secret from api.closed c) select secret from a",
    "with docs as (select 1) select d.title from api.docs d",
    "with closed as (select 1), open as (select secret from api.closed) select secret from open",
    "with open as (select 1 as id) select o.id, (select max(secret) from api.closed) as s from open o",
    "with closed as materialized (table api.closed) select 1 as a from closed where secret > ''",
    "with closed as (select 1) select (c.secret)::int as a from api.closed c",
    "with closed as (select 1) select 1 / (length(c.secret) - 15) as a from api.closed c",
];

#[tokio::test]
async fn a_common_table_hides_nothing() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let get = |sql: &str| {
            let url = reqwest::Url::parse_with_params(&kept.url("/query"), [("sql", sql)]);
            kept.client.get(url.expect("an address"))
        };
        for sql in PRIVATE {
            for _ in 0..2 {
                let post = kept.post(&json!({"sql": sql}));
                let whole = kept.post(&json!({"sql": sql})).header("prefer", "return=representation");
                for request in [post, whole, get(sql)] {
                    let answer = request.send().await.expect("an answer");
                    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{sql}");
                    assert_eq!(header(&answer, "cache-control"), "no-store", "{sql}");
                    assert_eq!(header(&answer, "location") + &header(&answer, "content-location"), "", "{sql}");
                    let text = answer.text().await.expect("text");
                    assert!(!text.contains("treasure") && !text.contains("title "), "{sql}: {text}");
                }
            }
            // With a token it is his alone, and nothing of it stays for others.
            let answer = kept.post(&json!({"sql": sql})).bearer_auth(&kept.setting.token).send().await;
            let answer = answer.expect("an answer");
            let (status, location) = (answer.status(), header(&answer, "location"));
            assert_eq!(location, "", "{sql}");
            assert!(header(&answer, "cache-control").contains("no-store"), "{sql}");
            let text = answer.text().await.expect("text");
            if status != StatusCode::OK {
                assert!(!text.contains("treasure"), "{sql}: {text}");
            }
            assert_eq!(kept.ask(sql).await.status(), StatusCode::UNAUTHORIZED, "{sql}");
        }
        // The other way round: only the name is that of a table.
        let sql = "with closed as (select 1 as secret) select secret from closed";
        assert_eq!(kept.rows_of(sql).await, json!([{"secret": 1}]));
        // Values of rows are in no message, also not of rows that everybody may read.
        for sql in [
            "select name::int as a from open",
            "select (name || '!')::date as a from open",
            "select 1 / (id - 1) as a, name from open",
            "select ('{\"' || name)::json as a from open",
            "select name::api.open as a from open",
        ] {
            let answer = kept.ask(sql).await;
            assert!(answer.status().is_client_error(), "{sql}: {}", answer.status());
            assert_eq!(header(&answer, "cache-control"), "no-store", "{sql}");
            let text = answer.text().await.expect("text");
            assert!(!text.contains("one") && !text.contains("two"), "{sql}: {text}");
        }
        let owner = db.superuser().await;
        let sql = "select count(*) from rolegate.query_sources where sql like '%api.closed%' or sql like '%api.docs%'";
        let row = owner.query_one(sql, &[]).await.expect("a row");
        assert_eq!(row.get::<_, i64>(0), 0);
        let everything = kept.get("/query?sql=select+1+as+a").await;
        assert_eq!(everything.json::<Value>().await.expect("JSON"), json!([{"a": 1}]));
    })
    .await;
}
