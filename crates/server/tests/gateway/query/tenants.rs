//! Members of different organizations with one role: nobody gets a row, a name or a header of another one.

use reqwest::StatusCode;
use rolegate_testkit::for_each_version;
use serde_json::{Value, json};

use super::live::stage::Stage;
use crate::harness::publish;

const TEXTS: &[&str] = &[
    "select id, org, title from docs",
    "select id, org, title from docs where id > $1 or id = $1",
    "select d.id, d.org, d.title from docs d join open o on true where o.id = 1",
    "with open as (select 1) select d.id, d.org, d.title from api.docs d",
    "select id, org, title from (select * from docs offset 0) x order by id limit 100",
];

#[tokio::test]
async fn everybody_gets_the_rows_of_his_organization() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        stage
            .run("insert into api.docs select g, g % 4, 't' || g from generate_series(10, 49) g")
            .await;
        let mut clients = tokio::task::JoinSet::new();
        for org in [1, 2, 3, 1, 2, 3, 7] {
            let token = stage.member_of(org);
            let url = format!("http://{}/query", stage.gateway.address);
            let client = stage.gateway.client.clone();
            let expected = stage
                .rows(&format!(
                    "select id, org, title from api.docs where org = {org}"
                ))
                .await;
            clients.spawn(async move {
                for round in 0..12 {
                    for sql in TEXTS {
                        let mut body = json!({"sql": sql});
                        if sql.contains("$1") {
                            body["params"] = json!([0]);
                        }
                        let post = client.post(&url).bearer_auth(&token).body(body.to_string());
                        let post = post.header("content-type", "application/json");
                        let answer = post.header("prefer", "return=representation").send().await;
                        let answer = answer.expect("an answer");
                        assert_eq!(answer.status(), StatusCode::OK, "{sql}");
                        let header = |name: &str| answer.headers().get(name).cloned();
                        assert_eq!(
                            header("cache-control").expect("one"),
                            "private, no-store",
                            "{sql}"
                        );
                        assert_eq!(header("rolegate-scope").expect("one"), "private", "{sql}");
                        assert_eq!(header("content-location"), None, "{sql}");
                        assert_eq!(header("etag"), None, "{sql}");
                        let rows: Vec<Value> = answer.json().await.expect("JSON");
                        assert_eq!(rows.len(), expected.len(), "{org}, {round}: {sql}");
                        for row in rows {
                            assert_eq!(row["org"], org, "{sql}");
                            assert_eq!(expected[&row["id"].to_string()], row, "{sql}");
                        }
                    }
                }
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended.expect("only his own");
        }
        // Without a token it is nobody's.
        for sql in TEXTS.iter().filter(|sql| !sql.contains("$1")) {
            let url = format!("http://{}/query", stage.gateway.address);
            let post = stage
                .gateway
                .client
                .post(url)
                .body(json!({"sql": sql}).to_string());
            let answer = post
                .header("content-type", "application/json")
                .send()
                .await
                .expect("an answer");
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{sql}");
        }
    })
    .await;
}

/// What a policy reads of the request is there for one request, and is nobody's where many share the rows.
#[tokio::test]
async fn a_group_has_no_headers() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let member = &stage.member;
        stage
            .run(&format!(
                "create table api.asked (id int primary key);
                 insert into api.asked values (1);
                 grant select on api.asked to \"{member}\""
            ))
            .await;
        publish(db).await;
        let sql = "select id, current_setting('request.headers', true) as headers,
            current_setting('request.method', true) as method,
            current_setting('request.path', true) as path from asked";
        let token = stage.member_of(1);
        let url = format!("http://{}/query", stage.gateway.address);
        let post = stage.gateway.client.post(url).bearer_auth(&token);
        let post = post
            .header("x-request-id", "mine")
            .header("user-agent", "secret agent");
        let post = post
            .header("content-type", "application/json")
            .body(json!({"sql": sql}).to_string());
        let answer = post.send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("text");
        assert_eq!(status, StatusCode::OK, "{text}");
        let rows: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (&rows[0]["method"], &rows[0]["path"]),
            (&json!("POST"), &json!("/query"))
        );
        assert_ne!(
            rows[0]["headers"], "{}",
            "there is something that could be seen"
        );
        let mut watcher = stage.watch(Some(&token), sql).await;
        let rows = watcher.expect("snapshot").await["rows"].clone();
        assert_eq!(
            rows,
            json!([{"id": 1, "headers": "{}", "method": "GET", "path": "/query"}])
        );
        let txid = stage.write("insert into api.asked values (2)").await;
        watcher.sees(txid).await;
        assert_eq!(watcher.column("headers"), [json!("{}"), json!("{}")]);
    })
    .await;
}
