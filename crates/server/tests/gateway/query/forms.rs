//! What an answer looks like, and what a request may.

use rolegate_server::budget::DefaultBudget;
use rolegate_testkit::for_each_version;
use serde_json::json;

use super::Setting;
use crate::harness::{Options, code, outcome};

#[tokio::test]
async fn rows_come_as_the_client_wants_them() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        let body = json!({"sql":
            "select 9007199254740993 as big, 1.10::numeric as n, 'NaN'::float8 as nan, true as yes, \
             array[1, 2] as list, '{\"b\":  1}'::json as doc, null as nothing, date '2026-01-02' as day, \
             'a\"b' as \"T\", '\\x00ff'::bytea as bytes"});
        let ask = |accept: &'static str| setting.ask(None, &body).header("accept", accept);
        let (status, _, text) = outcome(ask("*/*")).await;
        assert_eq!(status, 200, "{text}");
        assert_eq!(
            text,
            "[{\"big\":9007199254740993,\"n\":1.10,\"nan\":\"NaN\",\"yes\":true,\"list\":[1,2],\
             \"doc\":{\"b\":  1},\"nothing\":null,\"day\":\"2026-01-02\",\"T\":\"a\\\"b\",\
             \"bytes\":\"\\\\x00ff\"}]"
        );
        let answer = ask("application/x-ndjson").send().await.expect("an answer");
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        assert!(answer.text().await.expect("a body").ends_with("}\n"));
        let answer = ask("text/csv, */*").send().await.expect("an answer");
        assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let text = answer.text().await.expect("a body");
        assert_eq!(
            text,
            "big,n,nan,yes,list,doc,nothing,day,T,bytes\r\n9007199254740993,1.10,NaN,t,\"[1,2]\",\
             \"{\"\"b\"\":  1}\",,2026-01-02,\"a\"\"b\",\\x00ff\r\n"
        );
    })
    .await;
}

#[tokio::test]
async fn parameters_are_values_and_nothing_else() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        let rows = async |sql: &str, params: serde_json::Value| {
            setting.rows(&json!({"sql": sql, "params": params})).await
        };
        let sql = "select name from open where id = $1 or name = $2 order by id";
        assert_eq!(rows(sql, json!([1, null])).await, json!([{"name": "one"}]));
        assert_eq!(rows(sql, json!([7, "' or true --"])).await, json!([]));
        assert_eq!(
            rows(
                "select id from open where id = any ($1) order by id",
                json!(["{1,2}"])
            )
            .await,
            json!([{"id": 1}, {"id": 2}])
        );
        assert_eq!(
            rows("select $1::jsonb -> 'a' as a", json!([{"a": [1]}])).await,
            json!([{"a": [1]}])
        );
        let wrong = json!({"sql": sql, "params": ["x", "y"]});
        let (status, _, body) = outcome(setting.ask(None, &wrong)).await;
        assert!((400..500).contains(&status), "{body}");
    })
    .await;
}

#[tokio::test]
async fn a_query_can_be_asked_with_get() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        let url = format!("http://{}/query", setting.gateway.address);
        let get = |pairs: &[(&str, &str)]| {
            let query: Vec<String> = pairs
                .iter()
                .map(|(name, value)| {
                    format!("{name}={}", value.replace(' ', "+").replace('$', "%24"))
                })
                .collect();
            setting
                .gateway
                .client
                .get(format!("{url}?{}", query.join("&")))
        };
        let (status, _, body) = outcome(get(&[
            ("sql", "select name from open where id = $1"),
            ("params", "[2]"),
        ]))
        .await;
        assert_eq!((status, &*body), (200, "[{\"name\":\"two\"}]"));
        for pairs in [
            &[("sql", "select 1"), ("sql", "select 2")][..],
            &[("sq", "select 1")],
            &[("sql", "select 1"), ("params", "{}")],
            &[],
        ] {
            let (status, _, body) = outcome(get(pairs)).await;
            assert_eq!(code(&body), "invalid_params", "{status} {body}");
        }
        let (_, code, _) = outcome(get(&[("sql", "select 1"), ("database", "other")])).await;
        assert_eq!(code, "database_unknown");
    })
    .await;
}

#[tokio::test]
async fn bounds_end_a_query_and_not_the_process() {
    for_each_version(async |db| {
        let options = Options {
            budget: DefaultBudget {
                max_rows: 1000,
                max_bytes: 100_000,
                statement_timeout: std::time::Duration::from_millis(500),
                ..DefaultBudget::default()
            },
            ..Options::default()
        };
        let setting = Setting::lay_with(db, options).await;
        for (sql, status) in [
            ("select generate_series(1, 1001) as n", 413),
            ("select repeat('x', 200000) as a", 413),
            ("select count(*) from generate_series(1, 1000000000) a, generate_series(1, 1000000000) b", 504),
            ("select generate_series(1, 1000) as n", 200),
        ] {
            let (found, _, body) = setting.anonymous(sql).await;
            assert_eq!(found, status, "{sql}: {body}");
        }
    })
    .await;
}
